"""Verdicts: by the rules of the plan alone, from the pairs that are there."""

import pytest

from cnas.studies import read_plan
from cnas.studies.statistics import paired_difference
from cnas.studies.verdicts import HELPS, NO_RANKING, UNDECIDED, USELESS, conclude, levels, rule, without_runs

ARMS = {
    "plain": {"curriculum": False},
    "curriculum": {"curriculum.name": "uncertainty"},
    "permuted": {"curriculum.name": "permuted"},
    "loss": {"curriculum.name": "loss"},
}
MAIN = {"arm": "curriculum", "against": ["plain", "permuted"]}


@pytest.fixture
def plan(plan_file):
    """Makes a plan of four arms and eight seeds."""

    def make(**changes):
        values = {"arms": ARMS, "seeds": [*range(1, 9)], "comparisons": [MAIN], **changes}
        return read_plan(plan_file(**values))

    return make


def taus(*means, n=8, spread=0.01):
    """Figures of the arms: a mean each, and a deviation that differs from seed to seed and arm to arm."""
    return {
        arm: {
            seed: {"kendall_tau": mean + spread * ((seed * (place + 2)) % 5 - 2), "percentile": 0.5 + mean}
            for seed in range(1, n + 1)
        }
        for place, (arm, mean) in enumerate(zip(ARMS, means, strict=False))
    }


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [
        ([0.10, 0.11, 0.12, 0.09], HELPS),
        ([0.01, 0.20, -0.10, 0.30], UNDECIDED),
        ([0.00, 0.01, -0.01, 0.01], USELESS),
        ([-0.2, -0.1, -0.15, -0.12], USELESS),
        # Above zero for sure, and smaller than what would be of use for sure.
        ([0.010, 0.011, 0.012, 0.009], USELESS),
        ([0.2], UNDECIDED),
        ([], UNDECIDED),
    ],
)
def test_the_rule(differences, verdict):
    assert rule(paired_difference(differences), 0.05) == verdict


def test_an_arm_helps_only_if_it_does_against_every_control(plan):
    (both,) = conclude(plan(), taus(0.2, 0.4, 0.2))
    assert (both.verdict, [each.verdict for each in both.against]) == (HELPS, [HELPS, HELPS])
    (one,) = conclude(plan(), taus(0.2, 0.4, 0.4))
    assert (one.verdict, [each.verdict for each in one.against]) == (USELESS, [HELPS, USELESS])
    figures = taus(0.2, 0.4)
    figures["permuted"] = {seed: {"kendall_tau": 0.4 + 0.4 * (-1) ** seed} for seed in range(1, 9)}
    (open_,) = conclude(plan(), figures)
    assert (open_.verdict, [each.verdict for each in open_.against]) == (UNDECIDED, [HELPS, UNDECIDED])


def test_a_comparison_has_its_statistics(plan):
    (found,) = conclude(plan(), taus(0.2, 0.4, 0.2))
    against = found.against[0]
    assert against.difference == paired_difference(against.differences)
    assert against.difference.mean == pytest.approx(0.2, abs=0.01)
    assert (against.seeds, against.missing, found.analysis) == (tuple(range(1, 9)), (), 1)
    assert (found.p, found.p_holm) == (2 / 2**8, None)
    assert against.power > 0.9
    assert 2 <= against.pairs_needed <= 8
    assert {*against.others} == {"percentile"}
    assert against.others["percentile"].mean == pytest.approx(0.2)


def test_missing_seeds_are_reported_and_never_filled_in(plan):
    figures = taus(0.2, 0.4, 0.2)
    del figures["plain"][3]
    figures["curriculum"][5]["kendall_tau"] = None
    (found,) = conclude(plan(), figures)
    plain, permuted = found.against
    assert (plain.missing, plain.seeds) == ((3, 5), (1, 2, 4, 6, 7, 8))
    assert (permuted.missing, permuted.difference.n) == ((5,), 7)
    assert len(plain.differences) == 6


def test_one_pair_or_none_decides_nothing(plan):
    figures = taus(0.2, 0.4, 0.2, n=1)
    (one,) = conclude(plan(), figures)
    assert (one.verdict, one.against[0].difference.low, one.against[0].power) == (UNDECIDED, None, None)
    (none,) = conclude(plan(), {"plain": figures["plain"]})
    assert (none.verdict, none.p, none.against[0].missing) == (UNDECIDED, None, tuple(range(1, 9)))


def test_exploratory_comparisons_are_corrected_for_their_number(plan):
    three = [MAIN, {"arm": "loss", "against": ["plain"]}, {"arm": "permuted", "against": ["plain"]}]
    first, loss, permuted = conclude(plan(comparisons=three), taus(0.2, 0.4, 0.2, 0.4))
    assert (first.p_holm, first.verdict) == (None, HELPS)
    assert (loss.p, loss.p_holm, loss.verdict) == (2 / 2**8, 4 / 2**8, HELPS)
    assert permuted.verdict == USELESS
    # With five pairs the smallest p there is, 0.0625, is not small enough, though the interval is above zero.
    five = conclude(plan(comparisons=three, seeds=[*range(1, 6)]), taus(0.2, 0.4, 0.2, 0.4, n=5))
    assert [each.verdict for each in five] == [HELPS, UNDECIDED, USELESS]
    assert five[1].against[0].verdict == HELPS


def test_the_second_look_is_at_all_pairs_of_what_was_undecided_alone(plan):
    extended = plan(
        seeds=[1, 2, 3],
        extension={"seeds": [4, 5, 6, 7, 8], "alpha": 0.025},
        comparisons=[MAIN, {"arm": "permuted", "against": ["plain"]}],
    )
    figures = taus(0.2, 0.28, 0.2, spread=0.02)
    first = conclude(extended, figures)
    assert first[0].verdict == UNDECIDED
    assert first[0].against[0].difference.n == 3
    assert first[0].against[0].difference.confidence == 0.975
    second = conclude(extended, figures, first)
    assert (second[0].analysis, second[0].against[0].difference.n, second[0].verdict) == (2, 8, HELPS)
    # What is decided stays, whatever the new figures say.
    decided = conclude(extended, taus(0.2, 0.6, 0.2, spread=0.001))
    assert decided[0].verdict == HELPS
    assert conclude(extended, taus(0.6, 0.2, 0.2), decided)[0] == decided[0]


def test_where_the_gate_is_closed_nothing_is_compared(plan):
    (found,) = without_runs(plan(), NO_RANKING)
    assert (found.verdict, found.against, found.p) == ("no ranking at this budget", (), None)


def test_levels_are_compared_with_the_mean_of_every_arm(plan):
    level = {"measure": "percentile", "above": 0.75, "meaning": "beats random search"}
    found = levels(plan(levels=[level]), taus(0.2, 0.4))
    assert [(each.arm, each.n, each.reached) for each in found] == [("plain", 8, False), ("curriculum", 8, True)]
    assert found[1].mean == pytest.approx(0.9)
