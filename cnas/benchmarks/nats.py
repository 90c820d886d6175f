"""NATS-Bench's topology space from one compact table, and that table's way to and from Parquet.

Legend: A architectures (15,625), in the benchmark's own order.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnas.benchmarks.base import Record, check_data_set
from cnas.data.tables import opened_parquet
from cnas.durable import replace_file
from cnas.errors import UserError
from cnas.spaces.base import SearchSpace
from cnas.spaces.nats.space import NatsSpace, read
from cnas.types import Architecture

SIZE = NatsSpace().size
"""How many architectures there are: 15,625."""

TEST_COLUMNS = {
    "cifar10": "cifar10_test_200",
    "cifar100": "cifar100_test_200",
    "imagenet16_120": "imagenet16_120_test_200",
}
"""By data set, the column of test accuracies after 200 epochs, means over the benchmark's seeds, in percent."""

SHORT_COLUMNS = tuple(f"{name}_{split}_12" for name in TEST_COLUMNS for split in ("test", "valid"))
"""Accuracies after 12 epochs; a table may lack them."""

LARGEST = 1 << 20
"""Rows of a table; a small file may unfold into any number."""

NEEDED = ("index", "arch", *TEST_COLUMNS.values())

Accuracies = NDArray[np.float64]


class NatsTable:
    """Test accuracies of all 15,625 cells after 200 epochs of training (Dong et al. 2021, NATS-Bench, section 3).

    They are means over the benchmark's seeds, in percent, for ``cifar10`` (trained on all 50,000 images), ``cifar100``
    and ``imagenet16_120`` (their ``x-test`` halves): the figures of the paper's Table 2. Cells that compute the same in
    different notations were trained apart and are different entries.

    Args:
        architectures: their strings [A], each cell of the space once; the place is the benchmark's index.
        test_accuracy: by data set, float [A] in percent.
        source: where they come from; every `Record` repeats it.

    Raises:
        UserError: an architecture is missing or malformed, or an accuracy is none; the message names the row.
    """

    def __init__(self, architectures: Sequence[str], test_accuracy: Mapping[str, Sequence[float]], source: str) -> None:
        self.architectures = tuple(architectures)
        self.source = source
        self._index = self._checked(source)
        self._accuracies: dict[str, Accuracies] = {
            dataset: np.array([accuracy(value, f"{source}, row {row}, {dataset}") for row, value in enumerate(column)])
            for dataset, column in test_accuracy.items()
        }

    @classmethod
    def load(cls, path: str | Path) -> NatsTable:
        """Read a Parquet table, as ``cnas table build`` writes it.

        Args:
            path: of a table with the columns ``index``, ``arch``, ``cifar10_test_200``, ``cifar100_test_200`` and
                ``imagenet16_120_test_200``; others are ignored, and rows may stand in any order.

        Raises:
            UserError: there is no such file, it is not Parquet, or it lacks rows or columns.
        """
        path = Path(path)
        columns = read_columns(path)
        order = _order(columns["index"], path)
        return cls.of_columns({name: [values[row] for row in order] for name, values in columns.items()}, path.name)

    @classmethod
    def of_columns(cls, columns: Mapping[str, Sequence[Any]], source: str) -> NatsTable:
        """A table from its columns in the benchmark's order.

        Args:
            columns: by name; ``arch`` and those of `TEST_COLUMNS`.
            source: where they come from.
        """
        return cls(columns["arch"], {dataset: columns[column] for dataset, column in TEST_COLUMNS.items()}, source)

    def __len__(self) -> int:
        return len(self.architectures)

    @property
    def data_sets(self) -> tuple[str, ...]:
        """The data sets there are accuracies for."""
        return tuple(self._accuracies)

    def accuracies(self, dataset: str) -> Accuracies:
        """The test accuracies of all architectures on ``dataset``, float64 [A] in percent.

        Raises:
            UserError: the table has no such data set.
        """
        check_data_set(dataset, self._accuracies)
        return self._accuracies[dataset].copy()

    def query(self, architecture: Architecture | str) -> Record:
        """What the table says of an architecture, given itself or as its string.

        Raises:
            UserError: it is of another space, or its string is malformed; the message has the position.
        """
        return self._record(self._index[notation(architecture)])

    def best(self, dataset: str = "cifar10") -> Record:
        """The architecture with the highest test accuracy on ``dataset``; the first of several.

        Raises:
            UserError: the table has no such data set.
        """
        return self._record(int(self.accuracies(dataset).argmax()))

    def covers(self, space: SearchSpace) -> bool:
        """Whether the architectures of ``space`` are those of the table, whatever the sizes of its networks."""
        return space.name == NatsSpace.name

    def _record(self, index: int) -> Record:
        columns = self._accuracies.items()
        found = {dataset: float(column[index]) for dataset, column in columns}
        rank = {dataset: 1 + int((column > column[index]).sum()) for dataset, column in columns}
        regret = {dataset: float(column.max() - column[index]) for dataset, column in columns}
        return Record(index, self.architectures[index], found, rank, regret, self.source)

    def _checked(self, source: str) -> dict[str, int]:
        """The row of every architecture."""
        rows: dict[str, int] = {}
        for row, text in enumerate(self.architectures):
            if not isinstance(text, str):
                raise UserError(f"{source}, row {row}: arch must be a string, got {str(text)[:40]!r}")
            try:
                notation(text)
            except UserError as problem:
                raise UserError(f"{source}, row {row}: {problem}") from problem
            if (first := rows.setdefault(text, row)) != row:
                raise UserError(f"{source}, row {row}: {text} is there twice, in row {first} too")
        if len(self) != SIZE:
            raise UserError(f"{source} must have a row for each of the {SIZE:,} architectures, got {len(self):,}")
        return rows


def _order(indices: Sequence[Any], path: Path) -> list[int]:
    """The rows in the order of their index, which has to count from 0 without a gap."""
    for row, index in enumerate(indices):
        if not isinstance(index, int):
            raise UserError(f"table {path}, row {row}: index must be a whole number, got {str(index)[:40]!r}")
    order = sorted(range(len(indices)), key=lambda row: indices[row])
    for place, index in enumerate(indices[row] for row in order):
        if index != place:
            wrong = f"lacks the index {place}" if index > place else f"has twice or below 0 the index {index}"
            raise UserError(f"table {path} {wrong}; it needs 0 to {SIZE - 1}, each once")
    return order


def notation(architecture: Architecture | str) -> str:
    """The string of an architecture, checked.

    Raises:
        UserError: it is of another space, or the string departs from the notation; the message has the position.
    """
    if isinstance(architecture, str):
        read(architecture)
        return architecture
    if architecture.space != NatsSpace.name:
        raise UserError(f"architecture must be of the space {NatsSpace.name}, got one of {architecture.space}")
    return architecture.to_str()


def accuracy(value: object, where: str) -> float:
    """``value`` if it is a percentage.

    Raises:
        UserError: it is not; ``where`` says which it is.
    """
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 100:
        raise UserError(f"{where} must be an accuracy from 0 to 100, got {str(value)[:40]!r}")
    return float(value)


def read_columns(path: Path) -> dict[str, list[Any]]:
    """The columns that have to be there, each as a list [A].

    Raises:
        UserError: there is no such file, it is not Parquet, or a column is missing.
    """
    if not path.is_file():
        raise UserError(f"table {path} is no file; name a Parquet table such as `cnas table build` writes")
    with opened_parquet(path) as file:
        lacking = [name for name in NEEDED if name not in file.schema_arrow.names]
        if lacking:
            raise UserError(f"table {path} lacks the column {lacking[0]}; it needs {', '.join(NEEDED)}")
        if file.metadata.num_rows > LARGEST:
            raise UserError(f"table {path} has {file.metadata.num_rows:,} rows; at most {LARGEST:,} are read")
        found: dict[str, list[Any]] = file.read(columns=list(NEEDED)).to_pydict()
    return found


def write_columns(columns: Mapping[str, Sequence[Any]], path: Path) -> None:
    """Write a table whole or not at all.

    Args:
        columns: by name, lists of equal length.
        path: a file in a folder that exists.

    Raises:
        StorageError: the disk refuses.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    stream = io.BytesIO()
    pq.write_table(pa.table({name: list(values) for name, values in columns.items()}), stream)
    replace_file(path, stream.getvalue())
