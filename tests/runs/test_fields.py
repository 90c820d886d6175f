import argparse
import json
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnas.errors import UserError
from cnas.fields import field_docs, from_dict, to_dict
from cnas.runs.flags import OneLineParser, add_flags, apply_flags


@dataclass(frozen=True, kw_only=True)
class Curriculum:
    k: int = 5
    """How many candidates
    judge each unit."""
    refresh: Literal["epoch", "step"] = "epoch"
    """100% of the units are judged this often."""

    def __post_init__(self) -> None:
        if self.k < 0:
            raise UserError(f"curriculum.k must be at least 0, got {self.k}")


@dataclass(frozen=True, kw_only=True)
class Search:
    unrolled: bool = False
    """Second order."""
    entropy: float = 0.1
    rates: tuple[float, ...] = (0.5, 2.0)


@dataclass(frozen=True, kw_only=True)
class Annealed(Search):
    tau: float | None = None
    """Temperature."""
    betas: tuple[float, float] = (0.9, 0.999)


@dataclass(frozen=True, kw_only=True)
class Trainer:
    batch_size: int = 64
    """Sequences of a global batch."""
    clip: float | None = 0.25
    level: Literal[1, 2] = 1
    names: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Run:
    seed: int
    note: str | None = None
    exact: bool = True
    curriculum: Curriculum | None = field(default_factory=Curriculum)
    search: Search = field(default_factory=Search)
    trainer: Trainer = field(default_factory=Trainer)


finite = st.floats(allow_nan=False, allow_infinity=False)
curricula = st.builds(Curriculum, k=st.integers(0, 9), refresh=st.sampled_from(["epoch", "step"]))
searches = st.builds(Search, unrolled=st.booleans(), entropy=finite, rates=st.lists(finite, max_size=3).map(tuple))
trainers = st.builds(
    Trainer,
    batch_size=st.integers(),
    clip=st.none() | finite,
    level=st.sampled_from([1, 2]),
    names=st.lists(st.text(max_size=4), max_size=2).map(tuple),
)
runs = st.builds(
    Run,
    seed=st.integers(),
    note=st.none() | st.text(max_size=5),
    exact=st.booleans(),
    curriculum=st.none() | curricula,
    search=searches,
    trainer=trainers,
)
PROPERTY = settings(derandomize=True, deadline=None, max_examples=40)


def parse(config: Any, *words: str) -> Any:
    parser = OneLineParser()
    add_flags(parser, config)
    return apply_flags(config, parser.parse_args(words))


def message(action: Any, *args: Any) -> str:
    with pytest.raises(UserError) as caught:
        action(*args)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300
    return str(caught.value)


def changed(dotted: str, value: Any) -> dict[str, Any]:
    """`to_dict` of a run with one entry set, or removed where ``value`` is ``...``."""
    mapping = to_dict(Run(seed=1))
    *path, last = dotted.split(".")
    inner = mapping
    for key in path:
        inner = inner[key]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return mapping


# Dicts


@PROPERTY
@given(runs)
def test_json_round_trip_is_exact(run: Run) -> None:
    assert from_dict(Run, json.loads(json.dumps(to_dict(run), allow_nan=False))) == run


def test_an_integer_in_a_float_field_is_written_as_the_float() -> None:
    assert json.dumps(to_dict(Search(entropy=1))) == json.dumps(to_dict(Search(entropy=1.0)))


@pytest.mark.parametrize(
    ("dotted", "value", "expected"),
    [
        ("curriculum.kk", 3, "curriculum.kk is not a field, got 3; allowed: k, refresh"),
        ("a\nb", 3, r"'a\nb' is not a field, got 3; allowed: seed, note, exact, curriculum, search, trainer"),
        ("trainer.batch_size", ..., "trainer.batch_size is missing; it must be an integer"),
        ("seed", True, "seed must be an integer, got True"),
        ("seed", 1.0, "seed must be an integer, got 1.0"),
        ("exact", 1, "exact must be true or false, got 1"),
        ("note", 5, "note must be a text or none, got 5"),
        ("search.entropy", "0.1", "search.entropy must be a finite number, got '0.1'"),
        ("search.entropy", float("nan"), "search.entropy must be a finite number, got nan"),
        ("search.entropy", 10**400, "search.entropy must be a finite number, got 1000"),
        ("search.rates", 1.0, "search.rates must be a list, each item a finite number, got 1.0"),
        ("search.rates", [1, "x"], "search.rates[1] must be a finite number, got 'x'"),
        ("trainer.clip", False, "trainer.clip must be a finite number or none, got False"),
        ("trainer.level", True, "trainer.level must be one of 1, 2, got True"),
        ("curriculum.refresh", "never", "curriculum.refresh must be one of epoch, step, got 'never'"),
        ("curriculum", 7, "curriculum must be a mapping with the keys k, refresh or none, got 7"),
        ("search", None, "search must be a mapping with the keys unrolled, entropy, rates, got None"),
        ("curriculum.k", -1, "curriculum.k must be at least 0, got -1"),
    ],
)
def test_every_mistake_names_field_value_and_what_is_allowed(dotted: str, value: Any, expected: str) -> None:
    assert message(from_dict, Run, changed(dotted, value)).startswith(expected)


def test_where_prefixes_every_name() -> None:
    assert (
        message(from_dict, Curriculum, {}, "base.curriculum") == "base.curriculum.k is missing; it must be an integer"
    )
    assert message(from_dict, Curriculum, [], "x").startswith("x must be a mapping with the keys k, refresh, got []")
    assert message(from_dict, Curriculum, []).startswith("Curriculum must be a mapping")


def test_values_that_do_not_fit_are_not_written_either() -> None:
    assert message(to_dict, Run(seed=1, search=Search(entropy=float("inf")))).startswith(
        "search.entropy must be a finite"
    )


def test_a_subclass_keeps_its_own_fields() -> None:
    assert to_dict(Run(seed=1, search=Annealed(tau=3)))["search"]["tau"] == 3.0
    assert parse(Run(seed=1, search=Annealed()), "--search.tau", "2").search == Annealed(tau=2.0)


def test_a_tuple_may_have_a_fixed_length() -> None:
    run = Annealed(betas=(0.5, 1))
    assert from_dict(Annealed, json.loads(json.dumps(to_dict(run)))) == run
    assert parse(Annealed(), "--betas", "0.5, 1") == run
    allowed = "must be a list of 2, each item a finite number, got"
    assert message(parse, Annealed(), "--betas", "0.5") == f"--betas {allowed} [0.5]"
    assert message(from_dict, Annealed, to_dict(run) | {"betas": [0, 1, 2]}) == f"betas {allowed} [0, 1, 2]"
    assert message(to_dict, Annealed(betas=())) == f"betas {allowed} ()"
    parser = OneLineParser()
    add_flags(parser, run)
    assert "--betas NUMBER,NUMBER" in parser.format_help()


# Flags


def test_field_docs_are_the_literals_below_the_fields() -> None:
    @dataclass(frozen=True)
    class Local:
        a: int
        """Not
dedentable."""
        b: int

    assert field_docs(Curriculum) == {
        "k": "How many candidates judge each unit.",
        "refresh": "100% of the units are judged this often.",
    }
    assert field_docs(Annealed) == {"unrolled": "Second order.", "tau": "Temperature."}
    assert field_docs(Local) == {"a": "Not dedentable."}
    namespace: dict[str, Any] = {"dataclass": dataclass, "__name__": "nowhere"}
    exec("@dataclass\nclass Sourceless:\n    a: int = 1\n", namespace)
    assert field_docs(namespace["Sourceless"]) == {}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], Run(seed=1)),
        (["--seed", "7"], Run(seed=7)),
        (["--seed=-7"], Run(seed=-7)),
        (["--seed", "-7"], Run(seed=-7)),
        (["--note", "none"], Run(seed=1)),
        (["--note", "5"], Run(seed=1, note="5")),
        (["--no-exact"], Run(seed=1, exact=False)),
        (["--no-exact", "--exact"], Run(seed=1)),
        (["--curriculum.k", "3"], Run(seed=1, curriculum=Curriculum(k=3))),
        (["--curriculum.refresh", "step"], Run(seed=1, curriculum=Curriculum(refresh="step"))),
        (["--search.unrolled"], Run(seed=1, search=Search(unrolled=True))),
        (["--search.rates", "1, 2e-1"], Run(seed=1, search=Search(rates=(1.0, 0.2)))),
        (["--search.rates", ""], Run(seed=1, search=Search(rates=()))),
        (["--trainer.names", "none"], Run(seed=1, trainer=Trainer(names=("none",)))),
        (["--trainer.batch-size", "8"], Run(seed=1, trainer=Trainer(batch_size=8))),
        (["--trainer.batch_size", "8"], Run(seed=1, trainer=Trainer(batch_size=8))),
        (["--trainer.clip", "none"], Run(seed=1, trainer=Trainer(clip=None))),
        (["--trainer.clip", "1"], Run(seed=1, trainer=Trainer(clip=1.0))),
        (["--trainer.level", "2", "--trainer.names", "a,b"], Run(seed=1, trainer=Trainer(level=2, names=("a", "b")))),
    ],
)
def test_flags_change_exactly_what_they_name(words: list[str], expected: Run) -> None:
    assert parse(Run(seed=1), *words) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--curriculum.k five", "--curriculum.k must be an integer, got 'five'"),
        ("--curriculum.k 5.0", "--curriculum.k must be an integer, got '5.0'"),
        ("--curriculum.refresh often", "--curriculum.refresh must be one of epoch, step, got 'often'"),
        ("--search.entropy nan", "--search.entropy must be a finite number, got 'nan'"),
        ("--search.rates 1,x", "--search.rates[1] must be a finite number, got 'x'"),
        ("--trainer.batch_size x", "--trainer.batch-size must be an integer, got 'x'"),
        ("--trainer.clip x", "--trainer.clip must be a finite number or none, got 'x'"),
        ("--curriculum.k -3", "curriculum.k must be at least 0, got -3"),
        ("--curiculum.k 5", "unknown flag --curiculum.k; did you mean --curriculum.k?"),
        ("--curriculum.rfresh=step", "unknown flag --curriculum.rfresh; did you mean --curriculum.refresh?"),
        ("--zzz", "unknown flag --zzz; --help lists what is allowed"),
        ("--see 3", "unknown flag --see; did you mean --seed?"),
        ("5", "unexpected argument '5'; --help lists what is allowed"),
        ("--seed", "argument --seed: expected one argument"),
        ("--exact=1", "argument --exact/--no-exact: ignored explicit argument '1'"),
    ],
)
def test_every_wrong_flag_is_one_line_that_helps(words: str, expected: str) -> None:
    assert message(parse, Run(seed=1), *words.split()) == expected


def test_any_flag_may_be_written_with_underscores_its_value_stays() -> None:
    parser = OneLineParser()
    parser.add_argument("--output-dir")
    add_flags(parser, Run(seed=1))
    given = parser.parse_args(["--output_dir=a_b", "--note", "_a"])
    assert vars(given) == {"output_dir": "a_b", "note": "_a"}


def test_only_given_flags_are_in_the_namespace_and_nothing_given_changes_nothing() -> None:
    parser, run = OneLineParser(), Run(seed=1)
    add_flags(parser, run)
    assert vars(parser.parse_args([])) == {}
    assert apply_flags(run, argparse.Namespace(output_dir="x", data="y")) is run
    assert vars(parser.parse_args(["--trainer.batch_size", "8"])) == {"trainer.batch_size": 8}


def test_a_prefix_names_the_flags_of_a_part() -> None:
    parser = OneLineParser()
    add_flags(parser, Trainer(), prefix="retrain")
    given = parser.parse_args(["--retrain.batch-size", "3"])
    assert apply_flags(Trainer(), given, prefix="retrain") == Trainer(batch_size=3)
    assert apply_flags(Trainer(), given) == Trainer()


def test_a_part_that_is_none_has_no_flags() -> None:
    run = replace(Run(seed=1), curriculum=None)
    assert message(parse, run, "--curriculum.k", "3").startswith("unknown flag --curriculum.k")
    assert parse(run, "--seed", "2") == replace(run, seed=2)


def test_a_plain_parser_accepts_the_flags_too() -> None:
    parser = OneLineParser()
    add_flags(parser, Run(seed=1))
    assert apply_flags(Run(seed=1), parser.parse_args(["--seed", "3"])) == Run(seed=3)


def test_help_shows_docs_and_defaults(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    parser = OneLineParser(prog="recipe")
    add_flags(parser, Run(seed=1))
    with pytest.raises(SystemExit) as caught:
        parser.parse_args(["--help"])
    assert caught.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "--curriculum.k INT How many candidates judge each unit. (default: 5)" in text
    assert "--curriculum.refresh epoch|step 100% of the units are judged this often. (default: epoch)" in text
    assert "--search.unrolled, --no-search.unrolled Second order. (default: False)" in text
    assert "--search.rates NUMBER,... (default: 0.5,2.0)" in text
    assert "--note TEXT|none (default: none)" in text
    assert "--trainer.names TEXT,... (default: empty)" in text
    assert "batch_size" not in text


def test_subcommands_are_one_line_too() -> None:
    parser = OneLineParser()
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("report").add_argument("--format")
    assert "\n" not in message(parser.parse_args, ["reprot"])
    assert message(parser.parse_args, ["report", "--formta", "x"]).startswith("unknown flag --formta")
