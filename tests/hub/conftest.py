import shutil
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants
from made_run import make_run
from stub import TOKEN, running


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Path:
    return make_run(tmp_path_factory.mktemp("made") / "run")


@pytest.fixture
def run(made, tmp_path) -> Path:
    """A run folder of the test's own."""
    return Path(shutil.copytree(made, tmp_path / "run"))


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A Hub on loopback that `huggingface_hub` takes for the real one, its token, and a cache that is empty."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    with running() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        yield server
    huggingface_hub.close_session()
