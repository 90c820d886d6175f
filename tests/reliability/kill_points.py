"""Where a run can be killed: the calls that matter, counted in a run that nothing happens to, and drawn from."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tiny_recipe
from launching import Fault, events, recipe

CHECKPOINT = ("file", "save")
SCORING = ("judging", "weighing", "reward")


def undrawn(
    argv: Sequence[str], home: Path, fault: Fault | None = None, main: Callable[..., int] = tiny_recipe.main
) -> int:
    """The recipe without pictures and report, which take longer than all that is compared."""
    import cnas.hub.artifacts
    import cnas.runs.conclude

    cnas.runs.conclude.report_run = cnas.hub.artifacts.save_pictures = lambda *_: {}
    return recipe(argv, home, fault, main)


def counted(argv: Sequence[str], home: Path, file: Path) -> int:
    """The recipe in the folder ``home``; how often each event came is written to ``file``."""
    counts: Counter[str] = Counter()

    def count(name: str, owner: Any, attribute: str) -> None:
        original = getattr(owner, attribute)

        def call(*args: Any, **kwargs: Any) -> Any:
            counts[name] += 1
            return original(*args, **kwargs)

        setattr(owner, attribute, call)

    for name, (owner, attribute) in events().items():
        count(name, owner, attribute)
    code = undrawn(argv, home)
    file.write_text(json.dumps(counts), "utf-8")
    return code


def kill(draws: random.Random, counts: dict[str, int], where: Sequence[str]) -> Fault:
    """A kill in the first half of the calls of one of the events ``where`` that a run has, or of any."""
    known = sorted(set(where) & set(counts)) or sorted(counts)
    event = draws.choice(known)
    return Fault(event, draws.randint(1, (counts[event] + 1) // 2), after=draws.random() < 0.5)
