"""How a run went, and with which settings, as rows of a card's tables; nothing of them is Markdown yet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cnas.hub._finite import is_finite
from cnas.hub._markdown import last_part

Rows = list[tuple[str, str]]


def procedure(result: Mapping[str, Any]) -> Rows:
    """What a reader wants to know first; what ``result.json`` does not say is left out.

    Args:
        result: the contents of ``result.json``.
    """
    dataset, search, retrain = (part(result, key) for key in ("dataset", "search", "retrain"))
    rows = [
        ("Recipe", " ".join(last_part(result[key]) for key in ("recipe", "preset") if result.get(key))),
        ("Data", last_part(dataset["name"]) if dataset.get("name") else ""),
        ("Fingerprint of the data", last_part(dataset["fingerprint"]) if dataset.get("fingerprint") else ""),
        ("Sizes of its splits", _sizes(part(dataset, "splits"))),
        ("Of it used", _sizes(part(dataset, "used"))),
        ("Batches cut to it", _sizes(part(dataset, "cut"))),
        ("Search", _counts(search, {"epochs": "{:,} epochs", "steps": "{:,} weight steps", "seconds": "{:,.0f} s"})),
        *(_curriculum(part(result, "curriculum")) if search else []),
        (
            "Training of the cell, from new weights",
            _counts(retrain, {"epochs": "{:,} epochs", "steps": "{:,} steps", "seconds": "{:,.0f} s"}),
        ),
        ("Parameters", _counts(retrain, {"parameters": "{:,}"})),
        ("Seed", last_part(result["seed"]) if "seed" in result else ""),
    ]
    return [(label, value) for label, value in rows if value]


def trouble(result: Mapping[str, Any]) -> str:
    """One sentence for each phase in which numbers were not finite, or far too large; empty where all went well.

    Args:
        result: the contents of ``result.json``.

    Example:
        >>> trouble({"search": {"bad_steps": 0}, "retrain": {"bad_steps": 7, "recoveries": 1}})
        'In the training 7 bad steps updated nothing, and it went back to the start of an epoch 1 time(s), each time \
with half the learning rate.'
    """
    clauses = {
        "bad_steps": "{} bad steps updated nothing",
        "recoveries": "it went back to the start of an epoch {} time(s), each time with half the learning rate",
        "left_out": "{} scores or architecture steps were no numbers and did not count",
    }
    said = []
    for key, name in (("search", "search"), ("retrain", "training")):
        counts = part(result, key)
        found = [clause.format(f"{counts[each]:,}") for each, clause in clauses.items() if _counted(counts.get(each))]
        if found:
            said.append(f"In the {name} {', and '.join(found)}.")
    return " ".join(said)


def _counted(value: Any) -> bool:
    return is_finite(value) and value > 0


def settings(config: Mapping[str, Any]) -> Rows:
    """Every field of the parts of a configuration by its flag's name, and the arithmetic; never where the data is.

    Args:
        config: the contents of ``config.json``.

    Example:
        >>> settings({"data": "/home/ada/novel", "seed": 1, "trainer": {"epochs": 8, "clip_norm": None}})
        [('trainer.epochs', '8'), ('trainer.clip_norm', 'none')]
    """
    parts = {key: value for key, value in config.items() if isinstance(value, Mapping) or key == "mixed_precision"}
    return flat(parts)


def flat(values: Mapping[str, Any], prefix: str = "") -> Rows:
    """Nested mappings as rows with dotted names; of paths the last part alone."""
    rows: Rows = []
    for key, value in values.items():
        dotted = f"{prefix}{last_part(key)}"
        rows += flat(value, f"{dotted}.") if isinstance(value, Mapping) else [(dotted, _shown(value))]
    return rows


def part(values: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """A nested mapping; empty where there is none."""
    found = values.get(key)
    return found if isinstance(found, Mapping) else {}


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_shown(item) for item in value)
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else last_part(value)


def _curriculum(curriculum: Mapping[str, Any]) -> Rows:
    if not curriculum:
        return [("Curriculum", "none; every training sample weighs the same")]
    said = {key: last_part(curriculum.get(key, "unknown")) for key in ("name", "k", "unit", "refresh")}
    return [
        ("Curriculum", f"{said['name']}: what the judging subnets are least sure of weighs most"),
        ("Judging subnets", f"K = {said['k']}"),
        ("Unit that has a weight of its own", said["unit"]),
        ("Refresh of the weights", f"once per {said['refresh']}"),
    ]


def _counts(values: Mapping[str, Any], formats: Mapping[str, str]) -> str:
    return ", ".join(text.format(values[key]) for key, text in formats.items() if is_finite(values.get(key)))


def _sizes(splits: Mapping[str, Any]) -> str:
    """``train 42,068 sentences, 929,589 tokens; ...``, or counts alone; what is said of a split is in parentheses."""
    return "; ".join(f"{last_part(split)} {_size(size)}" for split, size in splits.items())


def _size(size: Any) -> str:
    if isinstance(size, Mapping):
        counts = [f"{count:,} {last_part(kind)}" for kind, count in size.items() if isinstance(count, int)]
        said = [last_part(value) for value in size.values() if not isinstance(value, int)]
        return " ".join([", ".join(counts), *(f"({each})" for each in said)]).strip()
    return f"{size:,}" if isinstance(size, int) else last_part(size)
