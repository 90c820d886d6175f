"""A process on a machine where `cnas` is not installed."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

# Without `site` no .pth file is read, which is how an editable install is found.
ISOLATED = (sys.executable, "-I", "-S", "-W", "error", "-c")
START = """
import importlib.util, sys
sys.path.append(sys.argv[1])
assert importlib.util.find_spec("cnas") is None
"""
END = """
assert not [name for name in sys.modules if name.partition(".")[0] == "cnas"]
"""


def packages_but_cnas(folder: Path) -> Path:
    """A folder with links to everything that is installed, but `cnas`."""
    folder.mkdir()
    for place in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for path in Path(place).iterdir():
            if "cnas" not in path.name:
                (folder / path.name).symlink_to(path)
    return folder


def run_without_cnas(code: str, place: Path, *args: str, **variables: str) -> str:
    """What ``code`` prints; its arguments begin at ``sys.argv[2]``, and its HF_HOME is new.

    Args:
        code: run with every warning an error.
        place: an empty folder for what the process needs and leaves.
        args: of the command line.
        variables: of the environment; without them the Hub is out of reach.
    """
    packages = packages_but_cnas(place / "packages")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "PYTHON"))}
    own = {"HF_HOME": str(place / "home"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*ISOLATED, START + code + END, str(packages), *args],
        cwd=place,
        env=kept | own | variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
