"""The card of an image classifier: its snippet runs where the model lies, on a picture of any size."""

import re

import pytest
import torch
from card_result import ENAS, run_result
from PIL import Image

from cnas.hub.artifacts import export_classifier
from cnas.spaces.nats.space import NatsSpace

CELL = "|nor_conv_3x3~0|+|skip_connect~0|none~1|+|nor_conv_1x1~0|none~1|avg_pool_3x3~2|"


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "images"
    folder.mkdir()
    torch.manual_seed(0)
    space = NatsSpace(channels=2, cells=1, classes=3, image_channels=1)
    found = run_result(
        space="nats",
        dataset={"name": "digits", "fingerprint": "00"},
        architecture={"space": "nats", "string": CELL},
        retrain={"epochs": 1, "parameters": 100, "valid_accuracy": 30.0, "test_accuracy": 32.5},
    )
    network, classes = space.build_network(space.parse(CELL)), ("zero", "<b>one</b>", "two")
    inputs = {"image_mean": (0.5,), "image_std": (0.25,), "size": {"height": 8, "width": 8}}
    export_classifier(folder, found, network, space=space, paper=ENAS, classes=classes, **inputs)
    return folder


def test_the_snippet_runs(classifier, monkeypatch, capsys):
    monkeypatch.chdir(classifier)
    Image.new("RGB", (20, 12), (200, 10, 10)).save(classifier / "picture.png")
    (code,) = re.findall(r"```python\n(.*?)\n```", (classifier / "README.md").read_text("utf-8"), re.DOTALL)
    assert len(code.splitlines()) <= 10
    exec(compile(code, "snippet", "exec"), {})
    guesses = [line.split(" ", 1) for line in capsys.readouterr().out.splitlines()]
    assert sorted(label for _, label in guesses) == ["<b>one</b>", "two", "zero"]
    assert sum(float(score) for score, _ in guesses) == pytest.approx(1, abs=2e-3)


def test_the_notation_of_the_cell_keeps_its_bars(classifier):
    card = (classifier / "README.md").read_text("utf-8")
    assert f"`{CELL}`" in card
    assert "| digits | test | accuracy (%) | 32.50 |" in card
    assert "![A graph of 4 nodes: node 1 = nor\\_conv" not in card
    assert "![A graph of 4 nodes: node 1 = nor_conv_3x3 of the input" in card
