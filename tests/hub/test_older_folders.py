"""Model folders of 0.1.0 load: their code was called `network.py`, and TAR `slowness`."""

import json
import shutil

import pytest
import torch
from foreign_process import run_without_cnas
from transformers import AutoModelForCausalLM

from cnas.hub import save_model
from cnas.spaces import DartsRnnSpace

WORDS = ("<unk>", "<eos>", "the", *(f"w{index}" for index in range(17)))
LOAD = """
import json, torch
from transformers import AutoModelForCausalLM

model = AutoModelForCausalLM.from_pretrained(sys.argv[2], trust_remote_code=True)
assert type(model).__module__.endswith(".network"), type(model)
with torch.no_grad():
    print(json.dumps([model.config.tar, *model(torch.arange(10).view(1, 10)).logits.flatten().tolist()]))
"""


def as_0_1_0(folder):
    """The folder with the names that 0.1.0 gave to files and fields."""
    (folder / "modeling.py").rename(folder / "network.py")
    path = folder / "config.json"
    config = json.loads(path.read_text("utf-8").replace("modeling.Cnas", "network.Cnas"))
    config["slowness"] = config.pop("tar")
    path.write_text(json.dumps(config), "utf-8")


@pytest.fixture
def older(tmp_path):
    space = DartsRnnSpace(vocab_size=len(WORDS), hidden_size=12, nodes=3, init_range=0.8, tar=0.25)
    torch.manual_seed(0)
    network = space.build_network(space.parse("relu 0 tanh 1 identity 0")).eval()
    save_model(network, WORDS, tmp_path / "0.1.0")
    with torch.no_grad():
        expected = network(torch.arange(10).view(1, 10)).logits
    as_0_1_0(tmp_path / "0.1.0")
    return tmp_path / "0.1.0", expected


def test_an_older_folder_loads_here_and_is_saved_as_today(older, tmp_path):
    folder, expected = older
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.config.tar == 0.25
    with torch.no_grad():
        assert torch.equal(model(torch.arange(10).view(1, 10)).logits[..., :-1], expected)  # the last is <pad>
    model.save_pretrained(tmp_path / "again")
    again = json.loads((tmp_path / "again" / "config.json").read_text("utf-8"))
    assert (again["tar"], "slowness" in again) == (0.25, False)


def test_an_older_folder_loads_with_its_own_code(older, tmp_path):
    folder, expected = older
    shutil.copytree(folder, tmp_path / "elsewhere" / "model")
    tar, *logits = json.loads(run_without_cnas(LOAD, tmp_path / "elsewhere", "model"))
    assert tar == 0.25
    assert torch.equal(torch.tensor(logits).view(1, 10, -1)[..., :-1], expected)
