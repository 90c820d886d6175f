"""The stand-alone NATS classifier: saved, loaded, trained, and given pictures. Legend: B images."""

import copy
import math
import warnings

import numpy as np
import pytest
import torch
from fine_tuning import tuning
from PIL import Image
from rounding import NORMED, within
from test_batch_norm import everywhere
from torch.nn import functional as F
from transformers import AutoImageProcessor, AutoModelForImageClassification, Trainer, pipeline

from cnas.hub.model_folder import save_network
from cnas.spaces import NatsSpace
from cnas.spaces.nats.modeling import CnasNatsConfig, CnasNatsForImageClassification, CnasNatsImageProcessor

TEXT = "|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|avg_pool_3x3~1|nor_conv_3x3~2|"
SPACE = NatsSpace(channels=4, cells=1, classes=3)


def build(text=TEXT, space=SPACE, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = space.build_network(space.parse(text))
        for name, buffer in network.named_buffers():
            if "running" in name:
                buffer.uniform_(0.5, 1.5)
    return network


def pictures(rows=4, channels=3, size=12, seed=0):
    return torch.randn(rows, channels, size, size, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def folder(tmp_path):
    return save_network(build().eval(), CnasNatsImageProcessor(size={"height": 12, "width": 12}), tmp_path / "model")


def test_it_is_saved_and_loaded_to_the_bit(folder):
    loaded = AutoModelForImageClassification.from_pretrained(folder)
    assert type(loaded) is CnasNatsForImageClassification
    assert loaded.config.operations == build().config.operations
    assert (loaded.config.channels, loaded.config.cells, loaded.config.num_labels) == (4, 1, 3)
    assert torch.equal(loaded(pictures()).logits, build().eval()(pictures()).logits)


def test_the_loss_is_the_cross_entropy():
    network, labels = build().eval(), torch.tensor([0, 2, 1, 2])
    output = network(pictures(), labels=labels)
    torch.testing.assert_close(output.loss, F.cross_entropy(output.logits, labels))
    assert network(pictures()).loss is None
    losses, logits, hidden_state, penalty = network.run(pictures(), labels)
    assert torch.equal(logits, output.logits)
    torch.testing.assert_close(losses, F.cross_entropy(output.logits, labels, reduction="none"))
    assert hidden_state is None
    assert penalty == 0


def test_two_processes_train_as_one():
    network, labels = build().double(), torch.tensor([0, 2, 1, 2])
    images = pictures().double()
    expected = network.run(images, labels)[0]
    wanted = torch.autograd.grad(expected.sum(), list(network.parameters()))

    def work(rank, all_reduce_sum):
        own, rows = copy.deepcopy(network), slice(2 * rank, 2 * rank + 2)
        losses = own.run(images[rows], labels[rows], all_reduce_sum=all_reduce_sum)[0]
        return losses.detach(), torch.autograd.grad(losses.sum(), list(own.parameters()))

    found = everywhere(2, work)
    torch.testing.assert_close(torch.cat([losses for losses, _ in found]), expected.detach(), **within(NORMED))
    for slope, *others in zip(wanted, *(slopes for _, slopes in found), strict=True):
        torch.testing.assert_close(sum(others), slope, rtol=1e-10, atol=1e-10)


def test_a_trainer_fine_tunes_it_for_two_steps(folder, tmp_path):
    model = AutoModelForImageClassification.from_pretrained(folder)
    before = {name: value.clone() for name, value in model.named_parameters()}
    rows = [{"pixel_values": image, "labels": index % 3} for index, image in enumerate(pictures(8))]
    arguments = tuning(
        tmp_path / "tuned",
        max_steps=2,
        per_device_train_batch_size=4,
        learning_rate=0.01,
    )
    assert Trainer(model=model, args=arguments, train_dataset=rows).train().global_step == 2
    assert all(not torch.equal(value, before[name]) for name, value in model.named_parameters())


def test_new_weights_are_those_of_torchs_layers():
    network = build(space=NatsSpace(channels=16, cells=1, classes=3))
    kernel = network.skeleton.stages[2][0].convolutions["5"].conv.weight
    bound = 1 / math.sqrt(kernel[0].numel())
    assert 0.99 * bound < kernel.abs().max() <= bound
    assert float(kernel.detach().std()) == pytest.approx(bound / math.sqrt(3), rel=0.02)
    linear = network.skeleton.classifier
    assert 0 < linear.bias.abs().max() <= 1 / 8
    norm = network.skeleton.last_norm
    assert torch.equal(norm.weight, torch.ones(64))
    assert torch.equal(norm.bias, torch.zeros(64))


def picture(mode, size=(20, 16), seed=0):
    channels = {"L": 1, "RGB": 3, "RGBA": 4}[mode]
    values = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], channels), dtype=np.uint8)
    return Image.fromarray(values.squeeze(), mode if channels > 1 else None)


def test_a_pipeline_answers_for_a_picture(folder):
    shown = picture("RGB")
    model, processor = (auto.from_pretrained(folder) for auto in (AutoModelForImageClassification, AutoImageProcessor))
    assert type(processor) is CnasNatsImageProcessor
    inputs = processor(shown, return_tensors="pt")
    shares = model(**inputs).logits.softmax(-1)[0].tolist()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        answers = pipeline("image-classification", str(folder))(shown)
    assert {one["label"]: pytest.approx(one["score"], rel=1e-5) for one in answers} == {
        f"LABEL_{index}": share for index, share in enumerate(shares)
    }


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_picture_becomes_what_the_network_reads(mode, channels):
    mean, std = [0.25, 0.5, 0.75][:channels], [0.5, 0.25, 0.125][:channels]
    processor = CnasNatsImageProcessor(size={"height": 16, "width": 20}, image_mean=mean, image_std=std)
    shown = picture(mode)
    found = processor([shown, shown], return_tensors="pt")["pixel_values"]
    values = np.asarray(shown.convert("L" if channels == 1 else "RGB"), dtype=np.float64).reshape(16, 20, channels)
    expected = (values / 255 - mean) / std
    assert found.shape == (2, channels, 16, 20)
    torch.testing.assert_close(found[1].double(), torch.tensor(expected).permute(2, 0, 1), rtol=1e-5, atol=1e-5)
    resized = CnasNatsImageProcessor(size={"height": 7, "width": 9}, image_mean=mean, image_std=std)
    assert resized(shown, return_tensors="pt")["pixel_values"].shape == (1, channels, 7, 9)


def test_without_operations_every_edge_is_a_convolution():
    network = CnasNatsForImageClassification(CnasNatsConfig(channels=2, cells=1))
    assert {type(one).__name__ for one in network.skeleton.stages[0][0].convolutions.values()} == {"NormedConvolution"}
    assert len(network.skeleton.stages[0][0].convolutions) == 6
    assert network(pictures()).logits.shape == (4, 2)


@pytest.mark.parametrize("operations", [["none"] * 5, ["none"] * 5 + ["nor_conv_7x7"], []])
def test_a_config_that_cannot_be_built_is_refused(operations):
    with pytest.raises(ValueError, match=r"operations must be 6 of none, skip_connect, .*, got"):
        CnasNatsForImageClassification(CnasNatsConfig(operations=operations, channels=2, cells=1))
