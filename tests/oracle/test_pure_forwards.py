"""The pure forwards of recurrent supernets and networks against the textbook: the same laws as of what they replace.

A pure forward is run uncompiled, on tensors alone: the network's own weights hold NaN meanwhile.

Legend: B rows, T tokens, H hidden units, K candidates.
"""

import comparing
import pytest
import test_darts_cell
import test_enas_cell
import textbook
import textbook_darts
import torch
from comparing import example
from hypothesis import given, settings
from hypothesis import strategies as st

from cnas.algorithms._relaxation import Alphas, hard_sample
from cnas.spaces._plain import widened
from cnas.spaces.pure import as_it_is, network_forward
from cnas.types import Batch, Routing

SETTINGS = settings(derandomize=True, deadline=None, max_examples=60)
FORWARDS = {"darts_rnn": textbook_darts.forward, "enas_rnn": textbook.forward}
F64 = torch.float64


class Pure:
    """Looks like a network, and runs its pure forward in which nothing but tensors is read."""

    def __init__(self, network, forward):
        self.network, self.forward = network, forward

    def __getattr__(self, name):
        return getattr(self.network, name)

    def __call__(self, batch, routing=None):
        found = self.forward(batch, routing)
        named = dict(self.network.named_parameters())
        given = {slot: named[name].clone() for slot, name in found.weights.items()}
        kept = {name: parameter.detach().clone() for name, parameter in named.items()}
        with torch.no_grad():
            for parameter in named.values():
                parameter.data.fill_(torch.nan)  # unseen by autograd
        given |= {slot: given[slot].detach() for slot in found.unused}  # of these the caller asks no gradient
        output = found.function(given | dict(found.tensors), as_it_is, None)
        with torch.no_grad():
            for name, parameter in named.items():
                parameter.data.copy_(kept[name])
        return output


def compare(space, supernet, batch, routing, dtype, **options):
    pure = Pure(supernet, supernet.pure)
    return comparing.compare(FORWARDS[space.name], space, pure, batch, routing, dtype, **options)


def cases(name):
    return test_darts_cell.cases() if name == "darts_rnn" else st.fixed_dictionaries(test_enas_cell.CASES)


both = pytest.mark.parametrize("name", ["darts_rnn", "enas_rnn"])


def every_pair(space):
    return tuple(pair for group in space.mixtures() for pair in group)


@both
@SETTINGS
@given(data=st.data())
def test_a_path_is_the_textbook(name, data):
    space, supernet, batch, draws = example(F64, **{"name": name} | data.draw(cases(name)))
    compare(space, supernet, batch, space.routing(space.sample(draws)), F64)


@both
@SETTINGS
@given(data=st.data())
def test_a_mixture_of_everything_is_the_textbook(name, data):
    space, supernet, batch, draws = example(F64, **{"name": name} | data.draw(cases(name)))
    scores = torch.randn(1, *space.shape, generator=draws, dtype=F64, requires_grad=True)
    compare(space, supernet, batch, Routing(scores.softmax(-1), (every_pair(space),)), F64, extra=[scores])


@both
@SETTINGS
@given(data=st.data())
def test_a_hard_sample_is_the_textbook(name, data):
    space, supernet, batch, draws = example(F64, **{"name": name} | data.draw(cases(name)))
    routing = hard_sample(Alphas(space, data.draw(st.integers(0, 99))), 0.5, draws)
    leaf = routing.weights.detach().requires_grad_()
    routing = Routing(leaf, routing.active)
    if supernet.pure(batch, routing) is None:  # the network itself says what nothing at all is
        assert {space.operations[operation] for _, operation in routing.active[0]} == {"none"}
        return
    compare(space, supernet, batch, routing, F64, extra=[leaf])
    compare(space, supernet, batch, Routing(leaf.detach(), routing.active, unit=True), F64)


@pytest.mark.parametrize("count", [1, 5])
@both
@settings(SETTINGS, max_examples=15)
@given(data=st.data())
def test_many_paths_are_as_many_forwards(name, count, data):
    case = {"name": name} | data.draw(cases(name))
    space, supernet, batch, draws = example(F64, **case)
    routings = [space.routing(space.sample(draws)) for _ in range(count)]
    shape = (count - 1, len(batch.inputs), case["hidden"])
    states = [None, *torch.randn(shape, generator=draws, dtype=F64)]
    found = Pure(supernet, lambda *_: supernet.pure_many(batch, routings, states))(batch)
    losses_KBT, after = supernet.forward_many(batch, routings, states)
    comparing.close(found.losses, losses_KBT, comparing.TOLERANCES[F64][0])
    comparing.close(found.hidden_state, torch.stack(after), comparing.TOLERANCES[F64][0])


@both
@SETTINGS
@given(data=st.data())
def test_a_derived_network_is_its_own_forward(name, data):
    space, supernet, batch, draws = example(F64, **{"name": name} | data.draw(cases(name)))
    network = space.build_network(space.sample(draws)).to(F64).train(supernet.training)
    comparing.scatter(network, draws)
    network.config.pad_row = data.draw(st.sampled_from([None, 0]))
    losses, _, state, penalty = network.run(batch.inputs, batch.labels, batch.hidden_state, batch.dropout_seeds)
    pure = Pure(network, lambda rows, _: network_forward(network, rows))
    found = pure(batch)
    wanted = list(network.parameters())
    comparing.compare_outputs(
        (found.losses, found.hidden_state, found.penalty), (losses, state, penalty), wanted, network.training, F64
    )


def test_a_batch_over_several_processes_is_run_as_it_is():
    for name, pure in (("darts_rnn", False), ("enas_rnn", True)):
        space, supernet, batch, draws = example(F64, name=name)
        batch = Batch(batch.inputs, batch.labels, batch.unit_ids, all_reduce_sum=lambda value: value)
        routing = space.routing(space.sample(draws))
        assert (supernet.pure(batch, routing) is not None) is pure
        assert (supernet.pure_many(batch, [routing], [None]) is not None) is pure


def test_two_paths_have_one_key():
    space, supernet, batch, draws = example(F64, name="darts_rnn")
    found = [supernet.pure(batch, space.routing(space.sample(draws))) for _ in range(5)]
    assert len({each.key for each in found}) == 1
    assert len({tuple(each.tensors["sources"].tolist()) for each in found}) > 1


@both
@settings(SETTINGS, max_examples=10)
@given(data=st.data(), soft=st.booleans())
def test_hidden_units_that_nothing_reads_change_nothing(name, soft, data):
    case = {"name": name} | data.draw(cases(name))
    space, supernet, batch, draws = example(F64, **case)
    weights = torch.rand(1, *space.shape, generator=draws, dtype=F64)
    routing = Routing(weights, (every_pair(space),)) if soft else space.routing(space.sample(draws))
    found, named = supernet.pure(batch, routing), dict(supernet.named_parameters())
    values = {slot: named[parameter] for slot, parameter in found.weights.items()} | dict(found.tensors)
    narrow = found.function(values, as_it_is, None)
    wide = found.function(widened(values, 3), as_it_is, None)
    for one, other in zip((wide.losses, wide.hidden_state, wide.penalty), _seen(narrow), strict=True):
        comparing.close(one, other, comparing.TOLERANCES[F64][0])
    mine, theirs = (torch.autograd.grad(each.losses.sum(), supernet.shell.embedding.weight) for each in (wide, narrow))
    comparing.close(mine[0], theirs[0], comparing.TOLERANCES[F64][1])


def _seen(output):
    return output.losses, output.hidden_state, output.penalty
