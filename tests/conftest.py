import json
import os
import shutil
import sys
from collections import Counter
from pathlib import Path

import pytest

# Two processes of a test share a small machine; those that it starts take this over, and what follows.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# The laws hold bit for bit on the host's processor, and two processes may not share an accelerator; so the tests demand
# the processor, before anything asks for a device. tests/test_accelerator_run.py is what runs on an accelerator.
HIDDEN = {"ACCELERATE_USE_CPU": "true", "CUDA_VISIBLE_DEVICES": "", "HIP_VISIBLE_DEVICES": ""}
# Workers of xdist find what the first process has kept for them.
SEEN = json.loads(os.environ.setdefault("CNAS_TESTS_SEEN", json.dumps({name: os.environ.get(name) for name in HIDDEN})))
os.environ.update(HIDDEN)


def no_fork(event, args):
    """A process that has met an accelerator, or has threads, must not be forked; no test can know that it has not."""
    if event in ("os.fork", "os.forkpty"):
        raise RuntimeError("a test forks; start a process with launching.Launched or subprocess instead")


sys.addaudithook(no_fork)


def pytest_addoption(parser):
    group = parser.getgroup("reliability")
    group.addoption("--long", action="store_true", help="long versions and whole crosses (make test-long)")
    # Absolute, since tests change the current folder.
    figures = "append what tests/reliability measures, a JSON object a line"
    group.addoption("--figures", metavar="FILE", type=os.path.abspath, help=figures)


def pytest_collection_modifyitems(config, items):
    """The whole cross of several options is for the long tests; a pairwise choice of it always runs."""
    if not config.getoption("--long"):
        left = [item for item in items if item.get_closest_marker("cross")]
        items[:] = [item for item in items if not item.get_closest_marker("cross")]
        config.hook.pytest_deselected(items=left)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session):
    """The last lines say what was skipped, one for each reason."""
    result = yield
    terminal = session.config.pluginmanager.get_plugin("terminalreporter")
    if terminal is not None:
        reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in terminal.stats.get("skipped", ()))
        for reason, count in sorted(reasons.items()):
            terminal.write_line(f"skipped {count}: {' '.join(reason.split())}")
    return result


@pytest.fixture
def devices(monkeypatch):
    """The environment of a process that may use the accelerators of this machine."""
    for name, value in SEEN.items():
        if value is None:
            monkeypatch.delenv(name)
        else:
            monkeypatch.setenv(name, value)


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
