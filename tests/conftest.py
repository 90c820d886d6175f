import os
import shutil
import sys
from pathlib import Path

import pytest

# Two processes of a test share a small machine; forked ones take this over.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_addoption(parser):
    group = parser.getgroup("reliability")
    group.addoption("--long", action="store_true", help="the long versions of tests/reliability (make test-long)")
    # Absolute, since tests change the current folder.
    figures = "append what tests/reliability measures, a JSON object a line"
    group.addoption("--figures", metavar="FILE", type=os.path.abspath, help=figures)


@pytest.fixture(autouse=True)
def forget_accelerator():
    """Accelerate keeps its state in the process; no test may find the precision of another one."""
    yield
    if "accelerate.state" in sys.modules:
        sys.modules["accelerate.state"].AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A folder with the made-up corpus; runs go beside it. Each file of tests has its own, and names are its own."""
    return _home(tmp_path_factory)


@pytest.fixture(scope="session")
def finished_once(tmp_path_factory) -> Path:
    from launching import SAVING, launch

    home = _home(tmp_path_factory)
    ended = launch(home, *SAVING, "--output-dir", "finished").wait()
    assert (ended.code, ended.err) == (0, ""), ended
    return home / "finished"


@pytest.fixture(scope="module")
def finished(home, finished_once) -> Path:
    """An uninterrupted run with checkpoints amid the epochs."""
    return Path(shutil.copytree(finished_once, home / "finished", dirs_exist_ok=True))


def _home(tmp_path_factory) -> Path:
    from tiny_recipe import write_corpus

    folder = tmp_path_factory.mktemp("home")
    write_corpus(folder / "corpus")
    return folder
