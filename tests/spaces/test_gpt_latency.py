"""The measured cost of a decoder: what is timed, and what follows from the times."""

import itertools
import math
from dataclasses import replace

import pytest
import torch

from cnas.algorithms.limits import limited
from cnas.errors import UserError
from cnas.fields import to_dict
from cnas.random import generator
from cnas.spaces import EnasRnnSpace, GptSpace
from cnas.spaces.gpt.latency import REPETITIONS, WARM_UPS, ascending, block_names, measure_blocks

SPACE = GptSpace(vocab_size=20, width=(8, 12), depth=(1, 2), heads=(1, 2), mlp=(8, 16), head_dim=4)
SIZES = SPACE.width, SPACE.heads, SPACE.mlp
CPU = torch.device("cpu")


def noisy(seed, space=SPACE):
    """Times without any order."""
    names = block_names((space.width, space.heads, space.mlp))
    times = torch.rand(len(names), generator=generator(seed, "times"), dtype=torch.float64) + 0.01
    return dict(zip(names, times.tolist(), strict=True))


def smaller(space, architecture):
    """The architectures with one size a step below."""
    for place, decision in enumerate(space.decisions()):
        before = decision.options.index(architecture.choices[place]) - 1
        if before >= 0:
            choices = [*architecture.choices]
            choices[place] = decision.options[before]
            yield space.architecture(choices)


class Clock:
    """A millisecond passes between two looks at it, but for some moments in which the machine does something else."""

    def __init__(self, every):
        self.every, self.looks, self.seconds = every, 0, 0.0

    def __call__(self):
        self.looks += 1
        self.seconds += 5.0 if self.looks % self.every == 0 else 1e-3
        return self.seconds


def decoder(width, heads, mlp):
    space = replace(SPACE, width=(width,), depth=(1,), heads=(heads,), mlp=(mlp,))
    return space.build_network(space.extremes()[0])


@pytest.mark.parametrize("every", [10**9, 11])
def test_a_block_is_the_layer_or_what_is_around_it_and_a_busy_moment_does_not_count(every):
    clock = Clock(every)
    found = measure_blocks(SIZES, decoder, CPU, 4, clock)
    assert clock.looks == 8 * 4 * (WARM_UPS + REPETITIONS)
    assert found.pop("blocks") == pytest.approx(
        dict.fromkeys(["w8", "w12"], 2.0)
        | {f"w{w} h{h} m{m}": 1.0 for w, h, m in itertools.product((8, 12), (1, 2), (8, 16))}
    )
    assert found == {"dtype": "float32", "cache_tokens": 4, "repetitions": REPETITIONS}


def test_every_step_is_one_token_that_attends_to_the_cache():
    seen = []

    def build(*sizes):
        network = decoder(*sizes)
        network.model.layers[0].self_attn.register_forward_pre_hook(
            lambda module, args, given: seen.append((given["cache"].get_seq_length(), given["hidden_states"].shape)),
            with_kwargs=True,
        )
        return network

    measure_blocks(((8,), (2,), (16,)), build, CPU, 6)
    assert seen[0] == (0, (1, 6, 8))
    assert seen[1:] == [(6, (1, 1, 8))] * (WARM_UPS + REPETITIONS)


def test_what_is_measured_is_positive_and_the_costs_add_it_up():
    before = torch.random.get_rng_state()
    found = SPACE.measure(CPU, 16)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert found["cache_tokens"] == 8
    blocks = found["blocks"]
    assert [*blocks] == block_names(SIZES)
    assert all(0 < time < math.inf for time in blocks.values())
    ordered = {name: float(place) for place, name in enumerate(blocks, 1)}
    space = SPACE.measured(ordered)
    for one in space.all():
        width, depth, heads, mlp, _ = space.shape_of(one.choices)
        expected = ordered[f"w{width}"] + depth * ordered[f"w{width} h{heads} m{mlp}"]
        assert space.costs(one) == {**SPACE.costs(one), "latency_ms": expected}


def test_networks_of_the_other_kind_are_measured_as_well():
    space = replace(SPACE, width=(10,), heads=(1, 3))
    found = space.measure(CPU, 1)
    assert found["cache_tokens"] == 1
    assert [*found["blocks"]] == ["w10", "w10 h1 m8", "w10 h1 m16", "w10 h3 m8", "w10 h3 m16"]


@pytest.mark.parametrize("seed", range(5))
def test_a_smaller_architecture_is_never_slower_whatever_was_measured(seed):
    space = replace(SPACE, width=(8, 12, 16), heads=(1, 2, 4), mlp=(8, 16, 24))
    space = space.measured(noisy(seed, space))
    costs = {one: space.costs(one)["latency_ms"] for one in space.all()}
    assert all(costs[less] <= costs[one] for one in costs for less in smaller(space, one))
    for most in sorted({*costs.values()})[::7]:
        members = limited(space, {"latency_ms": most}).members
        assert members == [one for one in costs if costs[one] <= most]
        assert members[0] == space.extremes()[0]


def test_smoothing_leaves_what_is_in_order_and_stays_between_the_ends():
    times = torch.rand(3, 4, 5, generator=generator(1, "times"), dtype=torch.float64)
    sorted_ = times.cumsum(0).cumsum(1).cumsum(2)
    assert torch.equal(ascending(sorted_), sorted_)
    found = ascending(times)
    assert torch.equal(ascending(found), found)
    assert times.min() <= found.min() <= found.max() <= times.max()


def test_a_limit_that_nobody_meets_names_what_was_measured():
    space = SPACE.measured({name: 1.0 if "h" in name else 0.25 for name in block_names(SIZES)})
    with pytest.raises(
        UserError, match=r"latency_ms<=1, which .* smallest is w8 d1 h1 m8 with 1.25 latency_ms, .* m16 with 2.25 late"
    ):
        limited(space, {"latency_ms": 1.0})


def test_without_a_measurement_there_is_no_such_cost_and_it_is_asked_for():
    assert "latency_ms" not in SPACE.costs(SPACE.extremes()[0])
    with pytest.raises(UserError, match=r"^search.limit names latency_ms, which must be measured: see SearchSpace.mea"):
        limited(SPACE, {"latency_ms": 1.0})
    unknown = SPACE.measured(None)
    assert {unknown.costs(one)["latency_ms"] for one in unknown.all()} == {0.0}
    blocks = noisy(1)
    del blocks["w12 h2 m8"]
    with pytest.raises(
        UserError, match=r"^no time was measured for 'w12 h2 m8', a block of the space; there are w8, w12, w8 h1 m8, "
    ):
        SPACE.measured(blocks)


def test_a_measured_space_is_the_same_space_otherwise():
    space = SPACE.measured(noisy(1))
    assert space == SPACE
    assert to_dict(space, "space") == to_dict(SPACE, "space")
    assert SPACE.measured(noisy(2)).costs(SPACE.extremes()[0]) != space.costs(SPACE.extremes()[0])


def test_spaces_without_such_costs_have_nothing_to_measure():
    space = EnasRnnSpace()
    assert space.measurable == ()
    assert space.measured(None) is space
    with pytest.raises(UserError, match=r"^space enas_rnn has no costs that are measured$"):
        space.measure(CPU, 8)
