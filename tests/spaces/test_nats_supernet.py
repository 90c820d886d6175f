"""The NATS supernet: candidates, gradients, processes, precision, sizes. Legend: K candidates, B images."""

import copy

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rounding import NORMED, within
from test_batch_norm import everywhere

from cnas.errors import UserError
from cnas.spaces import NatsSpace
from cnas.types import Batch, Routing

SPACE = NatsSpace(channels=4, cells=2, classes=5)
EVERY = tuple((edge, operation) for edge in range(6) for operation in range(5))
NOTHING = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"


def draws(seed):
    return torch.Generator().manual_seed(seed)


def build(space=SPACE, seed=0, dtype=torch.float64):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return space.build_supernet().to(dtype)


def batch_of(rows=6, height=8, width=8, channels=3, seed=0, dtype=torch.float64):
    images = torch.randn(rows, channels, height, width, generator=draws(seed), dtype=dtype)
    labels = torch.randint(5, (rows,), generator=draws(seed + 1))
    return Batch(images, labels, torch.arange(rows))


def buffers(supernet):
    return {name: buffer.clone() for name, buffer in supernet.named_buffers()}


def unchanged(supernet, before):
    return all(torch.equal(buffer, before[name]) for name, buffer in supernet.named_buffers())


@pytest.mark.parametrize("kind", ["paths", "a path per cell", "mixtures"])
def test_candidates_are_judged_apart_and_leave_no_trace(kind):
    """Statistics are a candidate's own, and averages stay what they were, though this is called while training."""
    supernet, batch, generator = build(), batch_of(), draws(3)
    routings = [SPACE.routing(SPACE.sample(generator)) for _ in range(2)] + [SPACE.routing(SPACE.parse(NOTHING))]
    if kind == "a path per cell":
        routings.append(Routing.paths([SPACE.sample(generator).choices for _ in range(6)], SPACE.shape))
    elif kind == "mixtures":
        routings.append(Routing(torch.full((1, 6, 5), 0.2, dtype=torch.float64), (EVERY,)))
    supernet(batch, routings[0])
    before = buffers(supernet)
    losses, hidden_states = supernet.forward_many(batch, routings, [None] * len(routings))
    outputs = supernet.evaluated(batch, routings, hidden_states)
    assert supernet.training
    assert unchanged(supernet, before)
    assert hidden_states == [None] * len(routings)
    assert not losses.requires_grad
    for place, routing in enumerate(routings):
        alone = supernet.eval()(batch, routing)
        assert torch.equal(losses[place], alone.losses)
        assert torch.equal(outputs[place].logits, alone.logits)


def run_convolutions(operations):
    """(edge, operation) of those that lead on to the output; edges are 1<-0, 2<-0, 2<-1, 3<-0, 3<-1, 3<-2."""
    a, b, c, d, e, f = (operation != 0 for operation in operations)
    onward = (a and (e or (c and f)), b and f, c and f, d, e, f)
    return {(edge, pick) for edge, pick in enumerate(operations) if onward[edge] and pick in (2, 3)}


def hard_sample(cells):
    """A straight-through draw of one operation per edge, and what it was drawn from."""
    scores = torch.zeros(len(cells), 6, 5, dtype=torch.float64).requires_grad_()
    drawn = Routing.paths([list(enumerate(picks)) for picks in cells], (6, 5))
    return Routing(drawn.weights + scores - scores.detach(), drawn.active), scores


CELLS = st.lists(st.integers(0, 4), min_size=6, max_size=6)


@pytest.mark.parametrize("hard", [True, False])
@settings(derandomize=True, deadline=None, max_examples=25)
@given(picks=st.lists(CELLS, min_size=1, max_size=3).filter(lambda cells: len(cells) != 2))
@example(picks=[[0] * 6])
@example(picks=[[3, 3, 3, 0, 0, 0]])
@example(picks=[[0, 0, 2, 0, 3, 3]])
@example(picks=[[3] * 6, [3, 2, 3, 0, 0, 0], [3] * 6])
@example(picks=[[3] * 6, [3] * 6, [0, 0, 3, 0, 2, 3]])
def test_what_is_run_gets_a_gradient_whether_or_not_a_cell_is_connected(hard, picks):
    """All around the cells, and every convolution that leads on to its cell's output; nothing else."""
    space = NatsSpace(channels=2, cells=1, classes=5)
    supernet, batch = build(space), batch_of(3, 4, 4)
    routing = hard_sample(picks)[0] if hard else Routing.paths([list(enumerate(each)) for each in picks], (6, 5))
    supernet(batch, routing).losses.sum().backward()
    found = {name: parameter.grad for name, parameter in supernet.named_parameters() if parameter.grad is not None}
    expected = {name for name, _ in supernet.named_parameters() if "edges." not in name}
    for stage in range(3):
        for edge, pick in run_convolutions(picks[stage % len(picks)]):
            expected.add(f"skeleton.stages.{stage}.0.edges.{edge}.conv_{'1x1' if pick == 2 else '3x3'}.weight")
    assert set(found) == expected
    last = picks[-1]
    if not space.is_connected(space.architecture(list(enumerate(last)))):
        before = ("skeleton.stem", "skeleton.reductions", "skeleton.stages.0", "skeleton.stages.1")
        assert not any(bool(grad.any()) for name, grad in found.items() if name.startswith(before))


def test_training_moves_the_averages_as_torch_does_and_evaluation_uses_them():
    supernet, batch = build(), batch_of()
    routing = SPACE.routing(SPACE.parse("|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|"))
    names = {name.rpartition(".")[0] for name, _ in supernet.named_buffers()}
    assert names == {
        f"skeleton.{place}"
        for place in ("stem_norm", *(f"reductions.{stage}.norm_{part}" for stage in (0, 1) for part in "ab"))
    }
    own = torch.nn.BatchNorm2d(4).double()
    own(supernet.skeleton.stem(batch.inputs))
    supernet(batch, routing)
    norm = supernet.skeleton.stem_norm
    torch.testing.assert_close(norm.running_mean, own.running_mean, **within(NORMED))
    torch.testing.assert_close(norm.running_var, own.running_var, **within(NORMED))
    before = buffers(supernet)
    first = supernet.eval()(batch, routing).losses
    assert unchanged(supernet, before)
    norm.running_mean.add_(1.0)
    assert not torch.allclose(supernet(batch, routing).losses, first)


@pytest.mark.parametrize("parts", [[3, 3], [6, 0], [1, 3, 2]])
@pytest.mark.parametrize("soft", [True, False])
def test_shared_images_are_one_batch(parts, soft):
    supernet, batch, generator = build(), batch_of(), draws(7)
    scores = torch.randn(1, 6, 5, generator=generator, dtype=torch.float64)
    path, other = (SPACE.routing(SPACE.sample(generator)) for _ in range(2))

    def run(rows, all_reduce_sum):
        own = copy.deepcopy(supernet)
        leaf = scores.clone().requires_grad_()
        routing = Routing(leaf.softmax(-1), (EVERY,)) if soft else path
        share = Batch(batch.inputs[rows], batch.labels[rows], batch.unit_ids[rows], None, None, all_reduce_sum)
        losses = own(share, routing).losses
        wanted = [*own.parameters(), leaf]
        slopes = torch.autograd.grad((losses * torch.arange(1.0, 7.0)[rows]).sum(), wanted, allow_unused=True)
        many, _ = own.forward_many(share, [path, other], [None, None])
        return losses.detach(), many, slopes, buffers(own)

    whole = run(slice(0, 6), None)
    edges = [0, *torch.tensor(parts).cumsum(0).tolist()]
    found = everywhere(len(parts), lambda rank, total: run(slice(edges[rank], edges[rank + 1]), total))
    torch.testing.assert_close(torch.cat([one[0] for one in found]), whole[0], **within(NORMED))
    torch.testing.assert_close(torch.cat([one[1] for one in found], 1), whole[1], **within(NORMED))
    for slope, *others in zip(whole[2], *(one[2] for one in found), strict=True):
        assert len({each is None for each in (slope, *others)}) == 1
        if slope is not None:
            torch.testing.assert_close(sum(others), slope, rtol=1e-9, atol=1e-10)
    for one in found:
        for name, buffer in whole[3].items():
            torch.testing.assert_close(one[3][name], buffer, **within(NORMED))


@pytest.mark.parametrize("size", [(8, 8), (9, 7), (28, 28), (1, 5), (3, 3)])
@pytest.mark.parametrize("channels", [1, 4])
def test_other_sizes_and_channels_work(size, channels):
    space = NatsSpace(channels=2, cells=1, classes=5, image_channels=channels)
    supernet, batch = build(space, dtype=torch.float32), batch_of(4, *size, channels, dtype=torch.float32)
    routing = Routing(torch.full((1, 6, 5), 0.2).requires_grad_(), (EVERY,))
    output = supernet(batch, routing)
    output.losses.sum().backward()
    assert output.losses.shape == (4,)
    assert output.logits.shape == (4, 5)
    assert bool(output.losses.isfinite().all())
    assert output.hidden_state is None
    assert output.penalty == 0
    assert all(bool(p.grad.isfinite().all()) for p in supernet.parameters() if p.grad is not None)


@pytest.mark.parametrize("kind", ["soft", "path"])
def test_autocast_is_close_and_losses_are_float32(kind):
    supernet, batch = build(dtype=torch.float32), batch_of(8, 16, 16, dtype=torch.float32)
    scores = torch.randn(1, 6, 5, generator=draws(4)).requires_grad_()
    path = "|nor_conv_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_3x3~0|avg_pool_3x3~1|nor_conv_3x3~2|"
    judge = SPACE.routing(SPACE.parse(path))
    routing = Routing(scores.softmax(-1), (EVERY,)) if kind == "soft" else judge
    exact = supernet(batch, routing)
    with torch.autocast(batch.inputs.device.type, torch.bfloat16):
        found = supernet(batch, routing)
        many, _ = supernet.forward_many(batch, [judge], [None])
    assert found.losses.dtype is many.dtype is torch.float32
    torch.testing.assert_close(found.losses, exact.losses, rtol=0.02, atol=0.02)
    slopes = []
    for one in (exact, found):
        parts = torch.autograd.grad(one.losses.mean(), list(supernet.parameters()), allow_unused=True)
        slopes.append(torch.cat([part.flatten() for part in parts if part is not None]))
    assert slopes[1].dtype is torch.float32
    # With torch's own layers it is 0.89 to 0.95.
    assert torch.cosine_similarity(*slopes, dim=0) > 0.9


def test_a_graph_can_be_gone_back_twice_and_two_can_be_alive():
    supernet, batch, generator = build(), batch_of(), draws(2)
    first, second = (SPACE.routing(SPACE.sample(generator)) for _ in range(2))
    wanted = supernet.skeleton.stem.weight
    losses = supernet(batch, first).losses.sum()
    expected = torch.autograd.grad(losses, wanted, retain_graph=True)[0]
    other = supernet(batch, second).losses.sum()
    assert torch.equal(torch.autograd.grad(losses, wanted)[0], expected)
    alone = supernet(batch, second).losses.sum()
    assert torch.equal(torch.autograd.grad(other, wanted)[0], torch.autograd.grad(alone, wanted)[0])


def test_a_routing_of_another_number_of_cells_is_refused():
    supernet, batch = build(), batch_of()
    found = [SPACE.sample(draws(0)).choices] * 5
    with pytest.raises(UserError, match="routing must be of 1 cell or of 6, got 5 and weights of 5"):
        supernet(batch, Routing.paths(found, SPACE.shape))


def test_a_disconnected_cell_puts_out_zero():
    supernet, batch = build(), batch_of()
    output = supernet(batch, SPACE.routing(SPACE.parse(NOTHING)))
    assert torch.equal(output.logits, output.logits[:1].expand(6, 5)), "images of one batch cannot be told apart"
