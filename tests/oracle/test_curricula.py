"""The weights of every curriculum against the equations of its paper, written out unit by unit with plain floats."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rounding import EXACT

from cnas.curricula import (
    Competence,
    DatasetInfo,
    Disagreement,
    Loss,
    Permuted,
    Progress,
    SelfPaced,
    SuperLoss,
    Uncertainty,
)
from cnas.curricula.superloss import lambert_w
from cnas.random import generator

SETTINGS = settings(derandomize=True, deadline=None, max_examples=25)
NUMBERS = st.lists(st.floats(0.01, 50), min_size=6, max_size=6)
TABLES = st.lists(NUMBERS, min_size=2, max_size=5)


def weights(curriculum, table, progress=None):
    units = len(table[0])
    ready = curriculum.setup(units, seed=3) if not ready_made(curriculum) else curriculum
    ready.update(torch.arange(units), torch.tensor(table, dtype=torch.float64), progress or Progress(0, 4, 0))
    return ready.v.tolist()


def ready_made(curriculum):
    return bool(curriculum.state)


def normalised(scores):
    total = math.fsum(scores)
    return [len(scores) * score / total if total else 1.0 for score in scores]


def means(table):
    return [math.fsum(column) / len(table) for column in zip(*table, strict=True)]


def about(values):
    return pytest.approx(values, rel=2e-6, abs=1e-6)


@SETTINGS
@given(TABLES, st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.0]))
def test_uncertainty(table, gamma):
    scores = [math.sqrt(mean) ** gamma for mean in means(table)]
    assert weights(Uncertainty(num_candidates=len(table), sharpness=gamma), table) == about(normalised(scores))


@SETTINGS
@given(TABLES)
def test_loss(table):
    assert weights(Loss(), table) == about(normalised(means(table)))


@SETTINGS
@given(TABLES)
def test_disagreement(table):
    spreads = []
    for column in zip(*table, strict=True):
        mean = math.fsum(column) / len(column)
        spreads.append(math.sqrt(math.fsum((loss - mean) ** 2 for loss in column) / len(column)))
    if max(spreads) > 1e-3:
        assert weights(Disagreement(), table) == about(normalised(spreads))


@SETTINGS
@given(TABLES, TABLES)
def test_permuted_has_the_weights_of_uncertainty_in_one_order_that_stays(table, other):
    order = torch.randperm(6, generator=generator(3, "curriculum/permutation"))
    curriculum = Permuted().setup(6, seed=3)
    for each in (table, other):
        given_to = weights(curriculum, each)
        plain = weights(Uncertainty(), each)
        # The unit with the i-th smallest key gives its weight to unit i.
        assert given_to == about([plain[unit] for unit in order.argsort().tolist()])
        assert sorted(given_to) == sorted(plain)


@SETTINGS
@given(TABLES, st.integers(0, 3))
def test_self_paced(table, epoch):
    losses, share = means(table), 0.5 + 0.5 * (epoch + 1) / 4
    threshold = sorted(losses)[round(share * (len(losses) - 1))]
    scores = [max(0.0, 1 - loss / threshold) for loss in losses]
    if max(scores) > 1e-3:
        assert weights(SelfPaced(), table, Progress(epoch, 4, 0, 1, 1)) == about(normalised(scores))


def sigma(loss, tau, strength):
    """The minimum of (L - τ)·σ + λ·(log σ)² by a search on log σ, of which the paper's Eq. 6 is the closed form."""
    low, high = -40.0, 1.0

    def slope(u):
        return (loss - tau) * math.exp(u) + 2 * strength * u

    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return math.exp(low)


@SETTINGS
@given(TABLES, TABLES, st.sampled_from([0.25, 1.0, 20.0]))
def test_superloss_minimises_its_loss(table, later, strength):
    curriculum, tau = SuperLoss(strength=strength).setup(6), None
    for each in (table, later):
        losses = means(each)
        mean = math.fsum(losses) / len(losses)
        tau = mean if tau is None else 0.9 * tau + 0.1 * mean
        # At beta below -2/e there is no minimum, and the paper takes the one at -2/e.
        scores = [sigma(max(loss, tau - 2 * strength / math.e * (1 - 1e-13)), tau, strength) for loss in losses]
        assert weights(curriculum, each) == pytest.approx(normalised(scores), rel=1e-5, abs=1e-6)
        assert float(curriculum.state["tau"]) == pytest.approx(tau)


@SETTINGS
@given(st.floats(-1, 300, allow_nan=False))
def test_lambert_w_is_the_inverse_of_w_times_its_exponential(w):
    x = w * math.exp(w)
    # At the branch point the root of the distance is all that x determines.
    near = 1e-7 if w < -0.99 else EXACT
    assert float(lambert_w(torch.tensor([x], dtype=torch.float64))) == pytest.approx(w, rel=near, abs=near)
    assert float(lambert_w(torch.tensor([-1 / math.e], dtype=torch.float64))) == pytest.approx(-1.0, abs=1e-7)


@SETTINGS
@given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=5), min_size=2, max_size=8), st.integers(0, 5))
def test_competence(sentences, epoch):
    words = [word for sentence in sentences for word in sentence]
    rarity = {word: -math.log(words.count(word) / len(words)) for word in words}
    hard = [round(math.fsum(rarity[word] for word in each) / len(each), 9) for each in sentences]
    share = [sum(other <= own for other in hard) / len(hard) for own in hard]
    ids = torch.tensor([unit for unit, each in enumerate(sentences) for _ in each])
    info = DatasetInfo(len(sentences), lambda: [(torch.tensor(words), ids)])
    curriculum = Competence(start=0.1, duration=0.5).setup(len(sentences), info)
    for time, ready in ((0.0, True), ((epoch + 1) / 6, False)):
        if not ready:
            curriculum.update(torch.arange(len(hard)), torch.empty(0, len(hard)), Progress(epoch, 6, 0, 1, 1))
        competence = min(1.0, math.sqrt(time * (1 - 0.1**2) / 0.5 + 0.1**2))
        used = [float(each <= max(competence, min(share))) for each in share]
        assert curriculum.v.tolist() == about(normalised(used))
