"""Which samples a trained network gets wrong, as a file of its run folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from cnas.errors import StorageError, UserError

FILE = "misclassified.json"


@dataclass(frozen=True)
class Misclassified:
    """One split of the data.

    Args:
        samples: how many it has.
        wrong: the places of those that are misclassified, ascending, counted from 0.
    """

    samples: int
    wrong: tuple[int, ...]


def write_misclassified(run: str | Path, splits: Mapping[str, tuple[int, Sequence[int]]]) -> Path:
    """Write ``misclassified.json`` into a run folder.

    Args:
        run: the folder of the run.
        splits: by name, e.g. ``"train"`` and ``"test"``: (how many samples, the places of the misclassified ones).

    Raises:
        StorageError: the disk refuses.
    """
    path = Path(run) / FILE
    values = {name: asdict(Misclassified(samples, tuple(sorted(wrong)))) for name, (samples, wrong) in splits.items()}
    try:
        path.write_text(json.dumps(values) + "\n", "utf-8")
    except OSError as problem:
        raise StorageError(f"cannot write {path}: {problem.strerror}") from problem
    return path


def read_misclassified(run: str | Path) -> dict[str, Misclassified]:
    """The inverse of `write_misclassified`.

    Args:
        run: the folder of the run.

    Raises:
        UserError: the run has no such file, or it is broken.
    """
    path = Path(run) / FILE
    try:
        values = json.loads(path.read_text("utf-8"))
        return {name: _checked(split["samples"], split["wrong"]) for name, split in values.items()}
    except FileNotFoundError as problem:
        raise UserError(f"run {run} has no {FILE}, which a trained classifier leaves") from problem
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as problem:
        raise UserError(f"{path} must hold samples and wrong for each split: {str(problem)[:60]}") from problem


def _checked(samples: int, wrong: Sequence[int]) -> Misclassified:
    whole = [place for place in wrong if isinstance(place, int) and 0 <= place < samples]
    if len(whole) != len(wrong) or len(set(whole)) != len(whole):
        raise ValueError(f"wrong must be different places from 0 to {samples - 1}")
    return Misclassified(samples, tuple(sorted(whole)))
