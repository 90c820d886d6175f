"""The pure forward of the NATS supernet: what `forward` gives, read from tensors alone, and without waiting.

Legend: B images, C cells, E edges, O operations.
"""

from collections import Counter

import pytest
import torch
from rounding import within
from test_nats_supernet import EVERY, SPACE, batch_of, buffers, build, draws, unchanged
from torch.utils._python_dispatch import TorchDispatchMode

from cnas.spaces.nats.norm import BatchNorm
from cnas.spaces.pure import as_it_is
from cnas.types import Batch, Routing

CLOSE = within(1e-12)
CELLS = 6


def mixture(cells=1, seed=3, dtype=torch.float64):
    """(a soft mixture of everything, the scores behind it)."""
    scores = torch.randn(cells, 6, 5, generator=draws(seed), dtype=dtype).requires_grad_()
    return Routing(scores.softmax(-1), (EVERY,) * cells), scores


def poisoned(supernet):
    """The same network, in which every weight and every average is NaN."""
    with torch.no_grad():
        for value in [*supernet.parameters(), *supernet.buffers()]:
            value.data.fill_(torch.nan if value.is_floating_point() else -99)
    return supernet


def pure_output(supernet, batch, routing, dtype=None):
    """(the output of the pure forward of a poisoned network, its weights by name)."""
    found = supernet.pure(batch, routing)
    state = dict(supernet.named_parameters()) | dict(supernet.named_buffers())
    given = {slot: state[name].detach().clone() for slot, name in found.weights.items()}
    for slot, name in found.weights.items():
        given[slot].requires_grad_(state[name].requires_grad)
    poisoned(supernet)
    output = found.function(given | dict(found.tensors), as_it_is, dtype)
    assert {int(each) for each in supernet.buffers() if not each.is_floating_point()} == {-99}, "left as they were"
    return output, {name: given[slot] for slot, name in found.weights.items()}


def slopes(losses, wanted):
    total = (losses * torch.linspace(0.5, 2, len(losses), dtype=losses.dtype)).sum()
    return torch.autograd.grad(total, wanted, retain_graph=True, allow_unused=True)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("cells", [1, CELLS])
def test_a_pure_mixture_is_the_forward(cells, training):
    supernet, batch = build().train(training), batch_of()
    supernet(batch, mixture()[0])  # so that no average is what it was at first
    routing, scores = mixture(cells)
    output, given = pure_output(build_like(supernet), batch, routing)
    expected = supernet(batch, routing)
    names = [name for name, _ in supernet.named_parameters()]
    wanted = slopes(expected.losses, [*supernet.parameters(), scores])
    assert {name for name, slope in zip(names, wanted, strict=False) if slope is None} == set(names) - set(given)
    learned = [name for name in names if name in given]
    found = slopes(output.losses, [*(given[name] for name in learned), scores])
    expected_slopes = [slope for slope in wanted if slope is not None]
    for one, other in zip(found, expected_slopes, strict=True):
        torch.testing.assert_close(one, other, **CLOSE)
    torch.testing.assert_close(output.losses, expected.losses, **CLOSE)
    torch.testing.assert_close(output.logits, expected.logits, **CLOSE)
    assert set(output.buffers) == {name for name, _ in supernet.named_buffers()}
    for name, buffer in supernet.named_buffers():
        torch.testing.assert_close(output.buffers[name], buffer, **CLOSE)


def build_like(supernet):
    other = build().train(supernet.training)
    other.load_state_dict(supernet.state_dict())
    return other


def test_one_function_serves_every_mixture_batch_and_weights():
    first, second = build(), build(seed=1)
    forward = first.pure(batch_of(), mixture()[0])
    batch, (routing, _) = batch_of(seed=5), mixture(seed=9)
    other = second.pure(batch, routing)
    assert forward.key == other.key
    assert forward.key not in (first.pure(batch, mixture(CELLS)[0]).key, first.eval().pure(batch, routing).key)
    first.train()
    given = {slot: second.state_dict()[name].clone() for slot, name in other.weights.items()} | dict(other.tensors)
    before = {slot: value.clone() for slot, value in given.items()}
    output = forward.function(given, as_it_is, None)
    assert all(torch.equal(given[slot], before[slot]) for slot in given), "what is given is not written to"
    torch.testing.assert_close(output.losses, second(batch, routing).losses, **CLOSE)


def test_a_pure_forward_leaves_the_averages_of_the_network_alone():
    supernet, (routing, _) = build(), mixture()
    before, forward = buffers(supernet), supernet.pure(batch_of(), routing)
    state, name = supernet.state_dict(), "skeleton.stem_norm.running_mean"
    given = {slot: state[own] for slot, own in forward.weights.items()} | dict(forward.tensors)
    output = forward.function(given, as_it_is, None)
    assert unchanged(supernet, before)
    assert not torch.equal(output.buffers[name], before[name])


def test_products_have_the_dtype_that_is_asked_for():
    supernet, batch = build(dtype=torch.float32), batch_of(dtype=torch.float32)
    routing, _ = mixture(dtype=torch.float32)
    with torch.autocast(batch.inputs.device.type, torch.bfloat16):
        expected = supernet(batch, routing)
    output, _ = pure_output(build(dtype=torch.float32), batch, routing, torch.bfloat16)
    assert torch.equal(output.losses, expected.losses)
    assert output.losses.dtype is torch.float32


def test_paths_hard_samples_and_shared_batches_are_run_as_they_are():
    supernet, batch, (routing, _) = build(), batch_of(), mixture()
    shared = Batch(batch.inputs, batch.labels, batch.unit_ids, all_reduce_sum=lambda values: values)
    path = SPACE.routing(SPACE.sample(draws(1)))
    hard = Routing(routing.weights, path.active)
    assert [supernet.pure(batch, path), supernet.pure(batch, hard), supernet.pure(shared, routing)] == [None] * 3


class Recorder(TorchDispatchMode):
    """Counts what is run, and refuses what reads or writes host memory."""

    def __init__(self):
        super().__init__()
        self.seen = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = str(func).split(".")[1]
        assert name not in {"_local_scalar_dense", "nonzero", "lift_fresh", "_to_copy"}, name
        self.seen[name] += 1
        if name == "native_batch_norm":
            assert args[0].is_contiguous()
        return func(*args, **(kwargs or {}))


KINDS = {"mixture": mixture()[0].active, "path": SPACE.routing(SPACE.sample(draws(1))).active}


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_off_the_processor_a_step_waits_for_nothing_and_norms_are_torchs(kind, shared):
    """On torch's device without memory, where nothing can be read; what is run there is what a GPU would run."""
    supernet = build(dtype=torch.float32).to("meta")
    host = batch_of(dtype=torch.float32)
    moved = (each.to("meta") for each in (host.inputs, host.labels, host.unit_ids))
    batch = Batch(*moved, all_reduce_sum=(lambda values: values) if shared else None)
    weights = torch.empty(1, 6, 5, device="meta").requires_grad_(kind == "mixture")
    run = list[BatchNorm]()
    for module in supernet.modules():
        if isinstance(module, BatchNorm):
            module.register_forward_pre_hook(lambda module, _: run.append(module))
    with Recorder() as recorder:
        supernet(batch, Routing(weights, KINDS[kind], unit=kind == "path")).losses.mean().backward()
    expected = 0 if shared else len(run)
    assert len(run) > 5
    assert recorder.seen["native_batch_norm"] == recorder.seen["native_batch_norm_backward"] == expected
