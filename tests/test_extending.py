"""What docs/extending.md adds is found by its place, and searched with: algorithm, space and curriculum of the page."""

import re
import sys
from pathlib import Path

import pytest
import torch
from builders import build_algorithm, build_session, build_space, build_trainer
from transformers import AutoConfig, AutoModelForImageClassification

import cnas.algorithms
import cnas.curricula
import cnas.spaces
from cnas.hub import register
from cnas.types import Batch, Routing

PAGE = Path(__file__).parents[1] / "docs" / "extending.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def block(text):
    """The block of the page that defines ``text``."""
    (found,) = [code for code in BLOCKS if text in code]
    return found


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The files of the page in their places, beside those of the package."""
    root = tmp_path_factory.mktemp("page")
    files = {re.match(r"# cnas/spaces/(\S+)\n", code): code for code in BLOCKS}
    places = {f"spaces/{match[1]}": code for match, code in files.items() if match}
    places["algorithms/random_search.py"] = block("class RandomSearch")
    places["curricula/median_loss.py"] = block("class MedianLoss")
    for name, code in places.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(code, "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        for package in (cnas.algorithms, cnas.curricula, cnas.spaces):
            patch.setattr(package, "__path__", [*package.__path__, str(root / package.__name__.rpartition(".")[2])])
        yield places
        # Found no more, they are forgotten as well.
        for name in [
            name for name in sys.modules if re.match(r"cnas\.(spaces\.layers|\w+\.(random_se|median_l))", name)
        ]:
            del sys.modules[name]


def test_all_files_of_the_space_are_shown(page):
    assert {f"spaces/layers/{name}.py" for name in ("__init__", "modeling", "supernet", "space")} <= set(page)


@pytest.mark.parametrize("algorithm", ["random_search", "darts_v1", "gdas"])
def test_they_are_found_and_searched_with(page, tmp_path, algorithm):
    assert {"layers"} <= set(cnas.spaces.names())
    space = build_space("layers", hidden_size=8)
    curriculum = cnas.curricula.curriculum_class("median_loss")(num_candidates=3, unit="sample")
    trainer = build_trainer(build_session(tmp_path), curriculum, space=space, algorithm=algorithm, num_train_epochs=4)
    result = trainer.train()
    assert space.parse(result.architecture.to_str()) == result.architecture
    assert float(trainer.curriculum.v.max()) > 1 > float(trainer.curriculum.v.min())
    assert float(trainer.curriculum.v.mean()) == pytest.approx(1, abs=1e-6)


def test_the_network_is_the_supernets_path_with_its_weights(page, tmp_path):
    space = build_space("layers")
    supernet, architecture = space.build_supernet(), space.parse("tanh relu identity")
    network = space.build_network(architecture)
    network.load_state_dict(supernet.state_dict())
    images, labels = torch.rand(4, 2, 8, 8), torch.tensor([0, 1, 2, 0])
    found = supernet(Batch(images, labels, torch.arange(4)), space.routing(architecture))
    torch.testing.assert_close(network.run(images, labels)[0], found.losses)
    register()
    network.save_pretrained(tmp_path)
    again = AutoModelForImageClassification.from_pretrained(tmp_path)
    assert type(AutoConfig.for_model("layers")) is type(again.config)
    assert torch.equal(again(images).logits, network(images).logits)


def test_a_hard_sample_reaches_what_was_not_run(page):
    space = build_space("layers")
    scores = torch.zeros(1, *space.shape, requires_grad=True)
    path = space.routing(space.parse("relu relu relu"))
    routing = Routing(path.weights + scores - scores.detach(), path.active)
    supernet, batch = space.build_supernet(), Batch(torch.rand(4, 2, 8, 8), torch.tensor([0, 1, 2, 0]), torch.arange(4))
    output = supernet(batch, routing)
    torch.testing.assert_close(output.losses, supernet(batch, path).losses)
    output.losses.sum().backward()
    assert bool((scores.grad != 0).all())


def test_the_algorithm_draws_from_its_generator(page):
    algorithm = build_algorithm(build_space("layers"), "random_search")
    one, other = (algorithm.route(torch.Generator().manual_seed(4)) for _ in range(2))
    assert torch.equal(one.weights, other.weights)
