import shutil
from pathlib import Path

import huggingface_hub
import pytest
import torch
from huggingface_hub import constants
from made_run import make_run
from stub import TOKEN, running

from cnas.hub import register, save_model
from cnas.spaces import EnasRnnSpace

WORDS = ("<unk>", "<eos>", "N", "the", "n't", "mr.", *(f"w{index}" for index in range(24)))


@pytest.fixture(scope="session")
def space():
    return EnasRnnSpace(vocab_size=len(WORDS), hidden_size=12, nodes=3, init_range=0.8)


@pytest.fixture
def network(space):
    torch.manual_seed(0)
    return space.build_network(space.parse("0 0 1 1 1 3")).eval()


@pytest.fixture
def words():
    return WORDS


@pytest.fixture
def model_folder(network, tmp_path) -> Path:
    register()
    return save_model(network, WORDS, tmp_path / "model")


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
