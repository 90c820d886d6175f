import subprocess
import sys

import pytest

import cnas.hub


def test_every_public_name_is_there():
    assert [name for name in cnas.hub.__all__ if not callable(getattr(cnas.hub, name))] == []
    with pytest.raises(AttributeError, match="no attribute 'draw_everything'"):
        _ = cnas.hub.draw_everything


def test_registering_loads_no_drawing_library():
    code = "import sys, cnas.hub.auto; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
