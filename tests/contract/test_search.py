"""What every algorithm × space × curriculum must do; new ones are found by name and tested without a line here."""

import copy
import functools
import itertools
import math
from dataclasses import replace

import pytest
import torch
from builders import bits, build_algorithm, build_session, build_space, build_trainer, fits, rows

from cnas import algorithms, curricula, spaces

WEIGHED = ("weight_", "effective_")
CURRICULA = [
    curricula.Uncertainty(num_candidates=3, unit=unit, refresh=refresh)
    for unit, refresh in itertools.product(("sequence", "token", "sample"), ("epoch", "step"))
]
KINDS = [kind for kind in map(curricula.curriculum_class, curricula.names()) if kind is not curricula.Uncertainty]
"""What else data can be reweighted by; they differ in numbers alone: one case for text, and one for images."""


def small(kind, unit, refresh):
    return kind(unit=unit, refresh=refresh, **{"num_candidates": 3} if kind.min_candidates else {})


OTHERS = [
    small(kind, unit, refresh)
    for place, kind in enumerate(KINDS)
    for unit, refresh in ((("sequence", "token")[place % 2], ("epoch", "step")[place // 2 % 2]), ("sample", "epoch"))
    if unit != "sample" or not kind.needs_words
]


def named(curriculum):
    return "plain" if curriculum is None else f"{curriculum.name}-{curriculum.unit}-{curriculum.refresh}"


def units(space):
    """Those of images, or those of text."""
    return {"sample"} if hasattr(build_space(space), "classes") else {"sequence", "token"}


def every(*curricula, turns=1):
    """Parametrises a test with every algorithm on every space, under each of ``curricula`` that the space can tell.

    The whole cross of the three is for the long tests. Otherwise spaces of one kind of data take turns, so that any two
    of algorithm, space and curriculum still meet; of these, one in so many ``turns`` runs: every algorithm, every space
    and every curriculum still comes up.
    """
    cases = [
        pytest.param(
            (algorithm, space),
            curriculum,
            id=f"{algorithm}-{space}-{named(curriculum)}",
            marks=[] if takes_turn(place, space, curriculum, turns) else [pytest.mark.cross],
        )
        for place, algorithm in enumerate(algorithms.names())
        for space in spaces.names()
        for curriculum in curricula
        if fits(algorithm, space) and (curriculum is None or curriculum.unit in units(space))
    ]
    return pytest.mark.parametrize(("pair", "curriculum"), cases, indirect=["pair"], scope="module")


def takes_turn(place, space, curriculum, turns=1):
    """Whether this space is the one of its kind on which the algorithm at ``place`` meets the curriculum."""
    algorithm = algorithms.names()[place]
    alike = [name for name in spaces.names() if units(name) == units(space) and fits(algorithm, name)]
    if space not in alike:
        return False
    if curriculum is None:
        return place % turns == 0
    if curriculum in OTHERS:
        return spaces_of(KINDS.index(type(curriculum)))[place] == space
    number = CURRICULA.index(curriculum)
    return (place + alike.index(space) + number) % len(alike) == 0 and (place + number // 2) % turns == 0


@functools.cache
def spaces_of(kind):
    """The space on which each algorithm meets that other curriculum: one that has come up least so far."""
    found = []
    for place, algorithm in enumerate(algorithms.names()):
        words = KINDS[kind].needs_words
        offered = [name for name in spaces.names() if fits(algorithm, name) and not (words and "sample" in units(name))]
        start = (place + kind) % len(offered)
        found.append(min(offered[start:] + offered[:start], key=found.count))
    return found


def test_any_two_of_algorithm_space_and_curriculum_meet():
    names = algorithms.names()
    cases = [
        (algorithm, space, curriculum)
        for place, algorithm in enumerate(names)
        for space, curriculum in itertools.product(spaces.names(), CURRICULA)
        if curriculum.unit in units(space) and takes_turn(place, space, curriculum)
    ]
    told = {(space, curriculum) for space, curriculum in itertools.product(spaces.names(), CURRICULA)}
    told = {(space, curriculum) for space, curriculum in told if curriculum.unit in units(space)}
    assert {case[1:] for case in cases} == told
    assert {case[:2] for case in cases} == {case for case in itertools.product(names, spaces.names()) if fits(*case)}
    known = {(name, space) for name, space in itertools.product(names, spaces.names()) if fits(name, space)}
    meant = {(name, one) for (name, space), one in itertools.product(known, CURRICULA) if one.unit in units(space)}
    assert {case[::2] for case in cases} == meant


@pytest.fixture(scope="module")
def pair(request):
    """(algorithm, space)."""
    return request.param


def builder(pair, root):
    folders = itertools.count()

    def make(curriculum=None, **config):
        context = build_session(root / str(next(folders)))
        return build_trainer(context, curriculum, space=build_space(pair[1]), algorithm=pair[0], **config)

    return make


@pytest.fixture
def build(pair, tmp_path):
    """Builds trainers of one algorithm on one space, each with a run folder of its own."""
    return builder(pair, tmp_path)


@pytest.fixture(scope="module")
def plain(pair, tmp_path_factory):
    """What a whole search without a curriculum leaves."""
    trainer = builder(pair, tmp_path_factory.mktemp("plain"))()
    return left(trainer, trainer.train())


def left(trainer, result):
    """(architecture, weights, policy and position bit for bit, rows), without what only a curriculum has."""
    # Callbacks remember the rows, which are compared without what the curriculum says in them.
    own = ("/curriculum", "/callbacks/state/log_history")
    state = {name: value for name, value in bits(trainer).items() if not name.startswith(own)}
    return result.architecture, state, rows(trainer.context.folder, WEIGHED)


@every(None, *CURRICULA, turns=2)
def test_a_step_moves_what_its_routing_uses_and_nothing_else(build, curriculum):
    trainer = build(curriculum, num_train_epochs=1)
    supernet = trainer.parts.supernet
    before = copy.deepcopy(supernet)
    routings, forward = [], trainer.forward
    trainer.forward = lambda batch, routing: (routings.append(routing), forward(batch, routing))[1]
    batch = trainer.fetch(0)
    trainer.train_step(0)
    assert len(routings) == trainer.algorithm.paths_per_step

    def losses():
        return torch.stack([before(batch, routing).losses for routing in routings])

    def losses_with(parameter, value):
        parameter.data.fill_(value)
        return losses()

    fresh, usual = dict(before.named_parameters()), losses()

    moved = {name for name, value in supernet.named_parameters() if not torch.equal(value, fresh[name])}
    for name, parameter in fresh.items():
        kept = parameter.detach().clone()
        # Attention may take NaN for what it must not look at, so other numbers are tried as well.
        used = [not torch.equal(losses_with(parameter, value), usual) for value in (math.nan, 3.0)]
        parameter.data.copy_(kept)
        assert any(used) == (name in moved), name


def test_any_two_of_algorithm_space_and_other_curriculum_meet():
    cases = [
        (algorithm, space, type(curriculum))
        for place, algorithm in enumerate(algorithms.names())
        for space, curriculum in itertools.product(spaces.names(), OTHERS)
        if curriculum.unit in units(space) and takes_turn(place, space, curriculum)
    ]
    known = {(space, type(one)) for space, one in itertools.product(spaces.names(), OTHERS) if one.unit in units(space)}
    assert {case[1:] for case in cases} == known
    assert {case[::2] for case in cases} == {*itertools.product(algorithms.names(), KINDS)}
    assert len(cases) == len(algorithms.names()) * len(KINDS)


def chosen(result, space):
    """What was found, or the first of a front that is the result."""
    return result.architecture or space.parse(result.front[0].architecture)


@every(*CURRICULA)
def test_a_search_finds_an_architecture_of_the_space(build, curriculum):
    trainer = build(curriculum, num_train_epochs=5)
    result = trainer.train()
    space = trainer.parts.space
    found = chosen(result, space)
    assert space.parse(found.to_str()) == found
    assert space.is_connected(found)
    assert (result.epochs, result.steps) == (5, 5 * len(trainer.batches))
    found = rows(trainer.context.folder)
    assert [(row["phase"], row["epoch"]) for row in found] == [("search", epoch) for epoch in range(1, 6)]
    assert all(math.isfinite(row["train_loss"]) and math.isfinite(row["valid_loss"]) for row in found)
    assert min(row["train_loss"] for row in found[1:]) < found[0]["train_loss"]
    assert all(space.parse(row["probe_architecture"]) for row in found)


@every(*OTHERS)
def test_every_other_curriculum_reweights_a_search(build, curriculum):
    trainer = build(curriculum, num_train_epochs=2)
    space, result = trainer.parts.space, trainer.train()
    assert space.is_connected(chosen(result, space))
    found = rows(trainer.context.folder)
    assert all(math.isfinite(row["train_loss"]) and math.isfinite(row["valid_loss"]) for row in found)
    assert any(row["weight_min"] < 0.998 and row["weight_max"] > 1.002 for row in found)
    assert float(trainer.curriculum.v.mean()) == pytest.approx(1, abs=1e-6)


@every(*CURRICULA, turns=2)
def test_the_curriculum_bites(plain, build, curriculum):
    trainer = build(curriculum)
    assert left(trainer, trainer.train())[1:] != plain[1:]
    first, second, last = rows(trainer.context.folder)
    # A row tells the weights its epoch was trained with: 1 in the first where they are refreshed between epochs.
    assert (first["weight_min"] == first["weight_max"] == 1) == (curriculum.refresh == "epoch")
    for row in (second, last):
        assert 0 <= row["weight_min"] < row["weight_median"] < row["weight_max"]
        assert row["weight_min"] < 0.998
        assert row["weight_max"] > 1.002
        assert 0 < row["effective_sample_size"] < 1
    assert second["weight_max"] != last["weight_max"]
    assert float(trainer.curriculum.v.mean()) == pytest.approx(1, abs=1e-6)


@every(*CURRICULA, turns=2)
def test_without_judges_it_is_the_plain_algorithm(plain, build, curriculum):
    trainer = build(replace(curriculum, num_candidates=0))
    assert left(trainer, trainer.train()) == plain
    assert not any(key.startswith(WEIGHED) for row in rows(trainer.context.folder) for key in row)


@every(*CURRICULA, turns=2)
def test_scoring_disturbs_nothing(plain, build, curriculum, monkeypatch):
    calls = []

    def constant(self, losses_KU):
        calls.append(len(losses_KU))
        return torch.ones(losses_KU.shape[1])

    monkeypatch.setattr(type(curriculum), "score", constant)
    trainer = build(curriculum)
    assert left(trainer, trainer.train()) == plain
    assert calls == [curriculum.num_candidates] * (2 if curriculum.refresh == "epoch" else 3 * len(trainer.batches))


PAIRS = [(space, name) for space, name in itertools.product(spaces.names(), algorithms.names()) if fits(name, space)]


@pytest.mark.parametrize(("space", "name"), PAIRS)
def test_candidates_are_as_many_as_asked_for(name, space):
    space = build_space(space)
    algorithm = build_algorithm(space, name)
    for count in (1, 3, 7):
        found = algorithm.candidates(count, torch.Generator().manual_seed(count))
        assert len(found) == count
        assert all(space.parse(str(one)) == one and space.is_connected(one) for one in found)


@pytest.mark.parametrize(("space", "name"), PAIRS)
def test_a_route_draws_from_its_generator_alone(name, space):
    algorithm = build_algorithm(build_space(space), name)
    before = torch.get_rng_state()
    one, other = (algorithm.route(torch.Generator().manual_seed(4)) for _ in range(2))
    assert torch.equal(one.weights, other.weights)
    assert one.active == other.active
    assert torch.equal(torch.get_rng_state(), before)
