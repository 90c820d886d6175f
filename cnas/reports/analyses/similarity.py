"""Which samples trained networks fail on, and whether they are the same (Figure 1 of the paper).

Legend: W the samples a network misclassifies.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter

from cnas.durable import replace_file
from cnas.errors import UserError
from cnas.reports.drawing import BLUE, WIDTH, Drawing, field, finish, label_fields, new_figure, style

FILE = "misclassified.json"
LONGEST_NAME = 18
"""So many letters have room beside the matrix."""


@dataclass(frozen=True)
class Misclassified:
    """Which samples of one split a trained network gets wrong.

    Args:
        samples: how many the split has.
        wrong: the places of those that are misclassified, ascending, counted from 0.
    """

    samples: int
    wrong: tuple[int, ...]

    def __post_init__(self) -> None:
        if len({*self.wrong} & {*range(self.samples)}) != len(self.wrong):
            raise ValueError(f"wrong must be different places from 0 to {self.samples - 1}")


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
    replace_file(path, f"{json.dumps(values)}\n".encode())
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
        return TypeAdapter(dict[str, Misclassified]).validate_json(path.read_bytes(), strict=True)
    except FileNotFoundError as problem:
        raise UserError(f"run {run} has no {FILE}, which a trained classifier leaves") from problem
    except (OSError, ValueError) as problem:
        reason = " ".join(str(problem).split())[:90]
        raise UserError(f"{path} must hold samples and wrong for each split: {reason}") from problem


@dataclass(frozen=True)
class Similarity:
    """How alike the failures of some networks are.

    Args:
        split: of the data.
        names: of the networks.
        errors: how many samples each gets wrong.
        matrix: |Wi ∩ Wj| / |Wi ∪ Wj| for each two, from 0 (no common failure) to 1 (all common); 1 on the diagonal.
    """

    split: str
    names: tuple[str, ...]
    errors: tuple[int, ...]
    matrix: tuple[tuple[float, ...], ...]


def similarity(runs: Sequence[str | Path], split: str = "test", names: Sequence[str] = ()) -> Similarity:
    """The misclassification similarity of trained networks (Zhou et al. 2022, section 3.2 and Figure 1).

    Args:
        runs: folders with ``misclassified.json`` (`write_misclassified`), of networks trained on the same data.
        split: ``"test"``, ``"train"`` or ``"validation"``.
        names: what to call the networks; the names of their folders if there are none.

    Raises:
        UserError: there are fewer than two, one lacks the file or the split, the splits are of different sizes, or
            there are names and not one for each run.
    """
    if len(runs) < 2:
        raise UserError(f"runs must name at least two run folders, got {len(runs)}")
    if names and len(names) != len(runs):
        raise UserError(f"names must be one for each of the {len(runs)} runs, got {len(names)}")
    found = []
    for run in runs:
        splits = read_misclassified(run)
        if split not in splits:
            raise UserError(f"split must be one of {', '.join(splits)} for run {run}, got {split[:40]!r}")
        found.append(splits[split])
    sizes = {each.samples for each in found}
    if len(sizes) > 1:
        raise UserError(f"runs must be of the same data; their {split} splits have {sorted(sizes)} samples")
    sets = [frozenset(each.wrong) for each in found]
    matrix = tuple(tuple(_jaccard(left, right) for right in sets) for left in sets)
    called = tuple(names) or tuple(Path(run).resolve().name for run in runs)
    return Similarity(split, called, tuple(map(len, sets)), matrix)


def _jaccard(left: frozenset[int], right: frozenset[int]) -> float:
    """|∩| / |∪|; two networks without any failure fail alike."""
    either = len(left | right)
    return len(left & right) / either if either else 1.0


def draw_similarity(found: Similarity) -> Drawing:
    """Draw the matrix with its numbers, and the names beside it where they have room.

    Args:
        found: what to draw.
    """
    values = np.array(found.matrix)
    count = len(values)
    labels = [str(place) for place in range(1, count + 1)]
    with style():
        figure, axes = new_figure(WIDTH * 0.8)
        for (i, j), value in np.ndenumerate(values):
            field(axes, (j, i), BLUE, 0.04 + 0.76 * float(value), f"{value:.2f}")
        longest = max(map(len, found.names))
        room = longest <= LONGEST_NAME
        rows = [f"{label}: {name}" for label, name in zip(labels, found.names, strict=True)] if room else labels
        label_fields(axes, rows, labels)
        figure.subplots_adjust(left=(0.45 + 0.08 * longest * room) / WIDTH)
        off = values[~np.eye(count, dtype=bool)]
        numbered = ", ".join(f"{label} {name}" for label, name in zip(labels, found.names, strict=True))
        words = f"{numbered}: between {off.min():.2f} and {off.max():.2f}, mean {off.mean():.2f}"
        title = f"Common misclassifications on {found.split} data"
        return finish(figure, f"similarity_{found.split}", title, f"Share of common failures of {words}.", numbered)
