"""A plan: what its entries make, what its hash covers, and every mistake in one line."""

from pathlib import Path

import pytest

from cnas.cli import main as cli
from cnas.errors import UserError
from cnas.studies import read_plan

RECIPES = sorted((Path(__file__).parents[2] / "recipes" / "studies").glob("*.yaml"))
EQUAL = {"curriculum": False, "cost_of": "curriculum"}


def test_an_arm_is_the_preset_with_the_flags_of_all_and_its_own(plan_file):
    arms = {"plain": {"curriculum": False}, "permuted": {"curriculum.name": "permuted"}}
    plan = read_plan(plan_file(arms=arms, comparisons=None))
    plain, permuted = plan.config("plain", 2), plan.config("permuted", 1)
    assert (plain.curriculum, permuted.curriculum.name) == (None, "permuted")
    assert (plain.seed, permuted.seed) == (2, 1)
    assert plain.algorithm == permuted.algorithm == "rsps"
    assert plain.retrain.num_train_epochs == 0
    assert plan.config("plain", 1, 7).trainer.num_train_epochs == 7


def test_an_arm_of_equal_cost_has_a_reference_and_needs_both(plan_file, plan_values):
    plan = read_plan(plan_file(arms={**plan_values["arms"], "equal": EQUAL}))
    assert (plan.cost_of("equal"), plan.reference("equal"), plan.cost_of("plain")) == ("curriculum", "plain", None)
    assert plan.with_costs(["equal"]) == ["plain", "curriculum", "equal"]
    assert plan.with_costs(["curriculum"]) == ["curriculum"]


def test_the_hash_is_of_the_meaning(plan_file, plan_values, tmp_path):
    one = read_plan(plan_file())
    again = tmp_path / "again.yaml"
    flags = plan_values["flags"]
    reordered = plan_file(flags={name.replace("_", "-"): flags[name] for name in reversed(flags)})
    again.write_text(f"# why\n\n{reordered.read_text('utf-8')}\n\n", "utf-8")
    assert read_plan(again).hash == one.hash
    assert len(one.hash) == 64


@pytest.mark.parametrize(
    "changes",
    [
        {"question": "Does it help?"},
        {"seeds": [1, 3]},
        {"rules": {"no_useful_effect_below": 0.06, "confidence": 0.95}},
        {"rules": {"no_useful_effect_below": 0.05, "confidence": 0.9}},
        {"endpoint": "within_size"},
        {"gate": {"arms": ["plain"], "seeds": [1], "min_tau": 0.3}},
        {"levels": [{"measure": "percentile", "above": 0.65, "meaning": "beats random"}]},
        {"extension": {"seeds": [3, 4], "alpha": 0.02}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_whatever_changes_a_verdict_changes_the_hash(plan_file, changes):
    assert read_plan(plan_file(**changes)).hash != read_plan(plan_file()).hash


def test_two_looks_share_what_is_left_to_error(plan_file):
    assert read_plan(plan_file()).confidence == 0.95
    assert read_plan(plan_file(extension={"seeds": [3], "alpha": 0.025})).confidence == 0.975


ARMS = {"plain": {"curriculum": False}, "curriculum": {}}
RULES = {"no_useful_effect_below": 0.05, "confidence": 0.95}
BAD = {
    "unknown key": ({"arm": 1}, ["arm is not a field", "did you mean arms?"]),
    "no question": ({"question": None}, ["question is missing"]),
    "no rules": ({"rules": None}, ["rules is missing"]),
    "no arms": ({"arms": {}}, ["arms must name at least one arm"]),
    "arms of another kind": ({"arms": ["plain"]}, ["arms must be a mapping", "['plain']"]),
    "arm's name": ({"arms": {"Plain!": {}}}, ["'Plain!'", "small letters"]),
    "unknown arm": ({"comparisons": [{"arm": "plane", "against": ["plain"]}]}, ["comparisons[0]", "plain", "'plane'"]),
    "unknown control": ({"comparisons": [{"arm": "plain", "against": ["x"]}]}, ["comparisons[0]", "'x'"]),
    "itself": ({"comparisons": [{"arm": "plain", "against": ["plain"]}]}, ["comparisons[0].against", "other than"]),
    "against nobody": ({"comparisons": [{"arm": "plain", "against": []}]}, ["comparisons[0].against"]),
    "unknown gate": ({"gate": {"arms": ["x"], "seeds": [1], "min_tau": 0.3}}, ["gate.arms", "'x'"]),
    "gate without a bound": ({"gate": {"arms": ["plain"], "seeds": [1]}}, ["gate.min_tau is missing"]),
    "one seed": ({"seeds": [1]}, ["seeds must be at least 2", "no interval"]),
    "no seeds": ({"seeds": []}, ["seeds must be different numbers", "[]"]),
    "a seed twice": ({"seeds": [1, 1]}, ["seeds must be different numbers", "[1, 1]"]),
    "a seed below 0": ({"seeds": [-1, 1]}, ["seeds must be different numbers", "-1"]),
    "a seed that is none": ({"seeds": ["one", 2]}, ["seeds[0] must be an integer", "'one'"]),
    "extension's seeds": ({"extension": {"seeds": [2, 3], "alpha": 0.025}}, ["extension.seeds", "new ones", "2"]),
    "alpha": ({"extension": {"seeds": [3], "alpha": 0.05}}, ["extension.alpha", "at most 0.025", "0.05"]),
    "confidence": ({"rules": {**RULES, "confidence": 95}}, ["rules.confidence", "95"]),
    "useless": ({"rules": {**RULES, "no_useful_effect_below": 0}}, ["rules.no_useful_effect_below", "above 0"]),
    "endpoint": ({"endpoint": "luck"}, ["endpoint must be one of kendall_tau", "'luck'"]),
    "scoring": ({"scoring": "luck"}, ["scoring must be one of published", "'luck'"]),
    "level": ({"levels": [{"measure": "luck", "above": 1, "meaning": "x"}]}, ["levels[0].measure", "'luck'"]),
    "flag": ({"arms": {"plain": {"search.luck": 1}}, "comparisons": None}, ["arms.plain: unknown flag --search.luck"]),
    "value": ({"flags": {"search.samples": "many"}}, ["arms.plain", "--search.samples", "'many'"]),
    "seed as a flag": ({"flags": {"seed": 3}}, ["flags.seed", "leave it out"]),
    "seed of an arm": ({"arms": {"plain": {"trainer.seed": 3}}}, ["arms.plain.trainer.seed", "leave it out"]),
    "output": ({"flags": {"output_dir": "x"}}, ["flags.output_dir", "leave it out"]),
    "curriculum": (
        {"arms": {**ARMS, "curriculum": {"curriculum": "permuted"}}},
        ["arms.curriculum.curriculum", "true"],
    ),
    "preset": ({"preset": "tiny_recipe/huge"}, ["tiny_recipe/huge"]),
    "twins": ({"arms": {"one": {}, "two": {}}, "comparisons": None}, ["arms.one and arms.two are the same run"]),
    "cost of nobody": ({"arms": {**ARMS, "equal": {"cost_of": "x"}}}, ["arms.equal.cost_of", "'x'"]),
    "cost without reference": (
        {"arms": {"curriculum": {}, "equal": EQUAL}, "comparisons": None},
        ["arms.equal has cost_of", "the same without it"],
    ),
    "cost of cost": (
        {"arms": {**ARMS, "equal": EQUAL, "other": {"curriculum": False, "cost_of": "equal"}}},
        ["arms.other.cost_of", "equal"],
    ),
    "gate of equal cost": (
        {"arms": {**ARMS, "equal": EQUAL}, "gate": {"arms": ["equal"], "seeds": [1], "min_tau": 0.3}},
        ["gate.arms", "equal"],
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_mistake_is_one_line_that_names_the_entry(plan_file, name):
    changes, words = BAD[name]
    file = plan_file(**changes)
    with pytest.raises(UserError) as found:
        read_plan(file)
    line = str(found.value)
    assert line.startswith(f"plan {file}: ")
    assert "\n" not in line
    for word in words:
        assert word in line


@pytest.mark.parametrize("text", ["- a list", "seeds: [1\n", "a: 1\na: 2", ""])
def test_what_is_no_plan_at_all(tmp_path, text):
    file = tmp_path / "plan.yaml"
    file.write_text(text, "utf-8")
    with pytest.raises(UserError, match=r"^plan "):
        read_plan(file)


def test_a_file_that_is_not_there_is_code_2(tmp_path, capsys):
    assert cli.main(["study", str(tmp_path / "none.yaml")]) == 2
    assert (
        capsys.readouterr().err
        == f"error: plan {tmp_path / 'none.yaml'}: it cannot be read: No such file or directory\n"
    )


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_a_plan_that_is_shipped_is_one(file):
    plan = read_plan(file)
    assert all(config.retrain.num_train_epochs == 0 and config.table for config in plan.configs.values())
    assert "Expected:" in file.read_text("utf-8") or file.stem == "smoke"


def test_the_smoke_study_has_two_arms_and_two_seeds():
    (file,) = [file for file in RECIPES if file.stem == "smoke"]
    plan = read_plan(file)
    assert (len(plan.arms), len(plan.seeds), plan.gate, plan.extension) == (2, 2, None, None)


def test_the_studies_of_the_curriculum_have_both_controls_and_pairs_enough():
    # With fewer than six pairs the sign-flip test cannot go below 5 %, with fewer than seven not below 2.5 %.
    for file in RECIPES:
        plan = read_plan(file)
        for each in plan.comparisons if "curriculum" in file.stem else ():
            assert len(plan.seeds) >= 8
            assert {plan.cost_of(control) for control in each.against} == {None, each.arm}
            assert "permuted" in {plan.configs[c].curriculum.name for c in each.against if plan.configs[c].curriculum}
