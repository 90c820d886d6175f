"""What every curriculum must do; new ones are found by name and tested without a line here.

Legend: K candidates, U units of an update, N units in all.
"""

import math
import random
from dataclasses import fields, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rounding import EXACT

from cnas import curricula
from cnas.curricula import Curriculum, DatasetInfo, Progress
from cnas.data.base import process_rows
from cnas.errors import UserError
from cnas.runs.config import RunConfig

SETTINGS = settings(derandomize=True, deadline=None, max_examples=15)
KINDS = [curricula.curriculum_class(name) for name in curricula.names()]
SCALE_FREE = ("uncertainty", "permuted", "loss", "disagreement", "self_paced")
LOSS = st.floats(0, 1e4, allow_subnormal=False, width=32)
COUNT = 3
every = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
that_scores = pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if kind.min_candidates], ids=lambda kind: kind.name
)


@st.composite
def losses(draw):
    """float32 [K, U]."""
    units = draw(st.integers(1, 12))
    return torch.tensor([draw(st.lists(LOSS, min_size=units, max_size=units)) for _ in range(COUNT)])


PROGRESS = st.integers(0, 4).map(lambda epoch: Progress(epoch, 5, 10 * epoch, 1, 1))


def info(num_units, seed=0):
    """A text of as many units, of one to nine words of different rarity."""
    draws = random.Random(seed)
    words = [(draws.randrange(5) ** 2, unit) for unit in range(num_units) for _ in range(draws.randrange(1, 10))]
    labels, ids = zip(*words, strict=True)
    return DatasetInfo(num_units, lambda: [(torch.tensor(labels), torch.tensor(ids))])


def ready(kind, num_units, **config):
    count = {"num_candidates": COUNT} if kind.min_candidates else {}
    return kind(**count, **config).setup(num_units, info(num_units), seed=1)


def seen(curriculum, losses_KU):
    """The losses that a curriculum gets: none where it needs none."""
    return losses_KU if curriculum.min_candidates else losses_KU[:0]


@every
@SETTINGS
@given(losses_KU=losses(), progress=PROGRESS)
def test_weights_are_finite_not_negative_and_have_mean_one(kind, losses_KU, progress):
    units = losses_KU.shape[1]
    curriculum = ready(kind, units)
    for v in (curriculum.v.clone(), curriculum.v):
        assert v.dtype is torch.float32
        assert bool(v.isfinite().all())
        assert float(v.min()) >= 0
        assert math.fsum(v.tolist()) == pytest.approx(units, rel=1e-6)
        assert curriculum.update(torch.arange(units), seen(curriculum, losses_KU), progress) == 0


@that_scores
@SETTINGS
@given(loss=LOSS, units=st.integers(1, 12), progress=PROGRESS)
def test_where_all_losses_are_equal_every_weight_is_exactly_one(kind, loss, units, progress):
    curriculum = ready(kind, units)
    curriculum.update(torch.arange(units), torch.full((COUNT, units), loss), progress)
    assert torch.equal(curriculum.v, torch.ones(units))


@every
@SETTINGS
@given(losses_KU=losses(), progress=PROGRESS, draws=st.randoms(use_true_random=False))
def test_the_order_in_which_units_are_given_does_not_matter(kind, losses_KU, progress, draws):
    units = losses_KU.shape[1]
    order_U = torch.tensor(draws.sample(range(units), units))
    one, other = ready(kind, units), ready(kind, units)
    one.update(torch.arange(units), seen(one, losses_KU), progress)
    other.update(order_U, seen(one, losses_KU[:, order_U]), progress)
    torch.testing.assert_close(other.v, one.v)


@every
@SETTINGS
@given(losses_KU=losses(), progress=PROGRESS, data=st.data())
def test_other_units_keep_their_weights(kind, losses_KU, progress, data):
    units = losses_KU.shape[1]
    chosen = data.draw(st.lists(st.integers(0, units - 1), min_size=1, unique=True))
    curriculum, ids_U = ready(kind, units), torch.tensor(chosen)
    before = curriculum.v.clone()
    curriculum.update(ids_U, seen(curriculum, losses_KU[:, ids_U]), progress)
    rest = [unit for unit in range(units) if unit not in chosen]
    assert torch.equal(curriculum.v[rest], before[rest])
    assert math.fsum(curriculum.v[ids_U].tolist()) == pytest.approx(len(chosen), rel=1e-6)


@every
@SETTINGS
@given(losses_KU=losses(), progress=PROGRESS)
def test_a_state_that_was_loaded_goes_on_as_if_nothing_had_happened(kind, losses_KU, progress):
    units = losses_KU.shape[1]
    one = ready(kind, units)
    one.update(torch.arange(units), seen(one, losses_KU), progress)
    saved = {name: value.clone() for name, value in one.state_dict().items()}
    other = ready(kind, units)
    other.load_state_dict(saved)
    assert torch.equal(other.v, one.v)
    for curriculum in (one, other):
        curriculum.update(torch.arange(units), seen(curriculum, losses_KU.flip(1) / 2), progress)
    assert torch.equal(other.v, one.v)
    assert all(torch.equal(value, other.state[name]) for name, value in one.state_dict().items())


@every
@SETTINGS
@given(losses_KU=losses(), progress=PROGRESS, world=st.integers(1, 4))
def test_rows_gathered_from_any_number_of_processes_give_the_same_weights(kind, losses_KU, progress, world):
    units = losses_KU.shape[1]
    parts = [process_rows(units, rank, world) for rank in range(world)]
    gathered_KU = torch.cat([losses_KU[:, rows] for rows in parts], dim=1)
    ids_U = torch.cat([torch.arange(units)[rows] for rows in parts])
    one, other = ready(kind, units), ready(kind, units)
    one.update(torch.arange(units), seen(one, losses_KU), progress)
    other.update(ids_U, seen(other, gathered_KU), progress)
    assert torch.equal(one.v, other.v)


@pytest.mark.parametrize("name", SCALE_FREE)
@SETTINGS
@given(losses_KU=losses(), progress=PROGRESS, exponent=st.integers(-20, 20))
def test_the_scale_of_the_losses_does_not_matter(name, losses_KU, progress, exponent):
    kind, units = curricula.curriculum_class(name), losses_KU.shape[1]
    one, other = ready(kind, units), ready(kind, units)
    one.update(torch.arange(units), losses_KU.double(), progress)
    # A power of 2 changes no digit.
    other.update(torch.arange(units), losses_KU.double() * 2.0**exponent, progress)
    torch.testing.assert_close(other.v, one.v, rtol=1e-6, atol=0)


@every
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_losses_of_any_precision_give_float32_weights(kind, dtype):
    curriculum = ready(kind, 2)
    curriculum.update(
        torch.arange(2), seen(curriculum, torch.tensor([[1.0, 4.0]] * COUNT, dtype=dtype)), Progress(0, 3, 0)
    )
    assert curriculum.v.dtype is torch.float32


@that_scores
@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_candidate_with_a_loss_that_is_not_finite_is_left_out(kind, broken):
    good_KU, ids_U, progress = torch.tensor([[1.0, 2.0, 6.0], [5.0, 2.0, 9.0]]), torch.arange(3), Progress(1, 5, 0)
    one, other = ready(kind, 3), ready(kind, 3)
    one.update(ids_U, good_KU, progress)
    broken_U = torch.tensor([1.0, broken, 1.0])
    assert other.update(ids_U, torch.stack([good_KU[0], broken_U, good_KU[1]]), progress) == 1
    assert torch.equal(other.v, one.v)
    before = {name: value.clone() for name, value in other.state_dict().items()}
    kept = [torch.tensor([2.0, 3.0, 4.0])] * (kind.min_candidates - 1)
    assert other.update(ids_U, torch.stack([*kept, broken_U]), progress) == 1
    assert all(torch.equal(other.state[name], value) for name, value in before.items())


@that_scores
def test_without_candidates_it_does_nothing(kind):
    assert not kind(num_candidates=0).active
    assert ready(kind, 1).active


@every
def test_one_set_up_leaves_the_configuration_as_it_was(kind):
    config = kind()
    curriculum = config.setup(4, info(4))
    assert not config.state
    assert curriculum == config
    assert hash(curriculum) == hash(config)
    assert replace(config, unit="token") != config


@every
def test_its_first_words_are_a_sentence_and_its_name_is_the_one_it_is_found_by(kind):
    assert kind.__doc__.splitlines()[0].endswith(".")
    assert curricula.curriculum_class(kind.name) is kind
    assert issubclass(kind, Curriculum)


@every
def test_json_holds_the_name_and_every_field(kind):
    config = kind(refresh="step", unit="token")
    values = config.to_json()
    assert values.pop("name") == kind.name
    assert set(values) == {field.name for field in fields(kind)} - {"state"}
    assert kind.from_json(values) == config
    assert (
        kind.from_json({"k" if name == "num_candidates" else name: value for name, value in values.items()}) == config
    )


@pytest.mark.parametrize(
    ("name", "config", "message"),
    [
        ("uncertainty", {"num_candidates": -1}, "num_candidates must be at least 0, got -1"),
        ("uncertainty", {"sharpness": -0.5}, "sharpness must be at least 0 and finite, got -0.5"),
        ("uncertainty", {"unit": "word"}, "unit must be one of sequence, token, sample, got 'word'"),
        ("disagreement", {"num_candidates": 1}, "num_candidates must be at least 2 for disagreement, or 0, got 1"),
        ("competence", {"num_candidates": 5}, "num_candidates must be 0 for competence, which needs none, got 5"),
        ("competence", {"duration": 0.0}, "duration must be above 0 and at most 1, got 0.0"),
        ("self_paced", {"start": 1.5}, "start must be above 0 and at most 1, got 1.5"),
        ("superloss", {"strength": 0.0}, "strength must be above 0 and finite, got 0.0"),
        ("superloss", {"decay": 1.0}, "decay must be at least 0 and below 1, got 1.0"),
    ],
)
def test_a_wrong_field_is_one_line(name, config, message):
    with pytest.raises(UserError) as caught:
        curricula.curriculum_class(name)(**config)
    assert isinstance(caught.value, ValueError)
    assert str(caught.value) == f"curriculum.{message}"


def test_an_unknown_name_is_one_line_with_the_nearest():
    with pytest.raises(
        UserError, match=r"^curriculum\.name must be one of .*, got 'uncertainly'; did you mean uncertainty\?$"
    ):
        curricula.curriculum_class("uncertainly")


def test_competence_needs_words():
    kind = curricula.curriculum_class("competence")
    with pytest.raises(UserError, match="needs words, so the data must be text"):
        kind().setup(3, DatasetInfo(3))
    even = DatasetInfo(2, lambda: [(torch.tensor([1, 2]), torch.tensor([0, 1]))])
    with pytest.raises(UserError, match=r"curriculum\.difficulty must be rarity where all units are equally long"):
        kind(difficulty="length").setup(2, even)


def test_a_file_of_0_1_0_is_read():
    from tiny_recipe import tiny

    values = tiny().to_json()
    values["curriculum"] = {"name": "uncertainty", "k": 3, "refresh": "epoch", "unit": "sequence"}
    assert RunConfig.from_json(values) == tiny()
    values["curriculum"]["kk"] = 3
    with pytest.raises(UserError, match=r"curriculum\.kk is not a field"):
        RunConfig.from_json(values)


def test_lengths_and_rarities_are_counted():
    labels, ids = torch.tensor([[7, 7, 3], [3, 7, 5]]), torch.tensor([[0, 0, 1], [1, 1, 2]])
    known = DatasetInfo(3, lambda: [(labels[:1], ids[:1]), (labels[1:], ids[1:])])
    assert known.lengths.tolist() == [2, 3, 1]
    rare = {7: -math.log(3 / 6), 3: -math.log(2 / 6), 5: -math.log(1 / 6)}
    expected = [rare[7], (rare[3] + rare[3] + rare[7]) / 3, rare[5]]
    torch.testing.assert_close(known.rarities, torch.tensor(expected, dtype=torch.float64), rtol=EXACT, atol=0)
