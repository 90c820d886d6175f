from pathlib import Path

import pytest
import torch

from cnas.export import register, save_model
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
