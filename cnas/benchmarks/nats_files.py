"""NATS-Bench's official files, read by its own package `nats_bench` without trusting its pickles."""

from __future__ import annotations

import bz2
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from cnas.benchmarks.base import Record
from cnas.benchmarks.nats import SHORT_COLUMNS, TEST_COLUMNS, NatsTable, accuracy, notation
from cnas.benchmarks.table_files import new_table, write_columns
from cnas.data.unpickle import safe_load
from cnas.errors import UserError
from cnas.types import Architecture

META = "meta.pickle.pbz2"
_TRAINED = "200"
"""The benchmark's name for its full training, 200 epochs."""
_SHORT = "12"

_WHERE: dict[str, tuple[str, str, str]] = {
    "cifar10_test_200": (_TRAINED, "cifar10", "ori-test"),
    "cifar100_test_200": (_TRAINED, "cifar100", "x-test"),
    "imagenet16_120_test_200": (_TRAINED, "ImageNet16-120", "x-test"),
    "cifar10_test_12": (_SHORT, "cifar10", "ori-test"),
    "cifar10_valid_12": (_SHORT, "cifar10-valid", "x-valid"),
    "cifar100_test_12": (_SHORT, "cifar100", "x-test"),
    "cifar100_valid_12": (_SHORT, "cifar100", "x-valid"),
    "imagenet16_120_test_12": (_SHORT, "ImageNet16-120", "x-test"),
    "imagenet16_120_valid_12": (_SHORT, "ImageNet16-120", "x-valid"),
}
"""For each column of a table, what `nats_bench` calls it: (training, data set, split). On CIFAR-10 the test accuracy is
that of the network trained on all 50,000 images, the validation accuracy that of one trained on half of them."""

_WRONG = (AssertionError, AttributeError, IndexError, KeyError, TypeError, ValueError, ZeroDivisionError)
"""What `nats_bench` raises on contents that are not a benchmark's."""


class NatsFiles:
    """The folder ``NATS-tss-v1_0-3ffb9-simple``: a file for each architecture, opened when it is asked for.

    Accuracies are those `NatsTable` has: after 200 epochs, means over all seeds there are (``hp="200"`` and
    ``is_random=False`` of `nats_bench`, whose defaults are 12 epochs and one seed at random). The package would load
    the pickles as they are; here they are opened by `cnas.data.unpickle`, and the package gets what they hold.

    Args:
        path: the folder, with ``meta.pickle.pbz2`` and ``000000.pickle.pbz2`` to ``015624.pickle.pbz2``.

    Raises:
        UserError: `nats_bench` is not installed, or the folder is not that of the benchmark.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            from nats_bench.api_utils import ArchResults
        except ImportError as problem:
            raise UserError("the files of NATS-Bench need the package nats_bench: pip install cnas[bench]") from problem
        self._results_class = ArchResults
        self.architectures = self._read_architectures()
        self._index = {text: index for index, text in enumerate(self.architectures)}
        self._table: NatsTable | None = None

    def query(self, architecture: Architecture | str) -> Record:
        """What the files say of an architecture, given itself or as its string.

        Ranks and regrets need all files, so they are empty until `table` has been called.

        Raises:
            UserError: it is of another space, its string is malformed, or its file is missing or broken.
        """
        text = notation(architecture)
        if self._table is not None:
            return self._table.query(text)
        index = self._index.get(text)
        if index is None:
            raise UserError(f"architecture {text} is not among the {len(self.architectures):,} of {self.path}")
        found = self._accuracies(index, list(TEST_COLUMNS.values()))
        by_data_set = {dataset: found[column] for dataset, column in TEST_COLUMNS.items()}
        return Record(index, text, by_data_set, {}, {}, self.path.name)

    def table(self) -> NatsTable:
        """All of it as a table, which is kept; the first call reads every file.

        Raises:
            UserError: a file is missing or broken, or they are not all there.
        """
        if self._table is None:
            self._table = NatsTable.of_columns(self.columns(tuple(TEST_COLUMNS.values())), self.path.name)
        return self._table

    def columns(self, names: Sequence[str]) -> dict[str, list[Any]]:
        """Accuracies of all architectures, in the benchmark's order.

        Args:
            names: columns of a table, e.g. ``"cifar10_test_200"``.

        Returns:
            ``index`` and ``arch`` as well as each of ``names``, as lists.

        Raises:
            UserError: a file is missing or broken.
        """
        found: dict[str, list[Any]] = {"index": [], "arch": [], **{name: [] for name in names}}
        # A bar where somebody looks on, nothing else.
        for index, text in enumerate(tqdm(self.architectures, "files", disable=None)):
            for name, value in {"index": index, "arch": text, **self._accuracies(index, names)}.items():
                found[name].append(value)
        return found

    def _accuracies(self, index: int, names: Sequence[str]) -> dict[str, float]:
        path = self.path / f"{index:06d}.pickle.pbz2"
        loaded = _open(path)
        try:
            results = {
                hp: self._results_class.create_from_state_dict(loaded[hp]) for hp in {_WHERE[n][0] for n in names}
            }
            if any(each.arch_index != index or each.arch_str != self.architectures[index] for each in results.values()):
                raise UserError(f"{path} is of another architecture than {META} says")
            return {name: accuracy(_mean(results, name), f"{path}, {name}") for name in names}
        except UserError:
            raise
        except _WRONG as problem:
            raise UserError(f"{path} lacks results: {type(problem).__name__}: {str(problem)[:60]}") from problem

    def _read_architectures(self) -> tuple[str, ...]:
        if not self.path.is_dir() or not (self.path / META).is_file():
            raise UserError(
                f"benchmark path {self.path} must be the folder NATS-tss-v1_0-3ffb9-simple with {META}, "
                f"got {'a folder without it' if self.path.is_dir() else 'no folder'}"
            )
        loaded = _open(self.path / META)
        found = loaded.get("meta_archs")
        if not isinstance(found, list | tuple) or not found:
            raise UserError(f"{self.path / META} lacks the list meta_archs of architectures")
        return tuple(notation(text) for text in map(str, found))


def build_table(source: str | Path, out: str | Path) -> int:
    """Write the compact table of the official files, for `NatsTable.load`.

    Args:
        source: the folder of the benchmark, as `NatsFiles` takes it.
        out: the Parquet file to write; it appears whole or not at all.

    Returns:
        How many architectures it holds.

    Raises:
        UserError: the files are not all there, one is broken, or ``out`` exists or is in no folder.
        StorageError: the disk refuses.
    """
    out = new_table(out)
    columns = NatsFiles(source).columns((*TEST_COLUMNS.values(), *SHORT_COLUMNS))
    write_columns(columns, out)
    return len(columns["arch"])


def _mean(results: Mapping[str, Any], name: str) -> Any:
    """The last epoch's accuracy, the mean over the seeds there are."""
    hp, dataset, split = _WHERE[name]
    return results[hp].get_metrics(dataset, split, is_random=False)["accuracy"]


def _open(path: Path) -> dict[Any, Any]:
    try:
        with bz2.open(path, "rb") as file:
            loaded = safe_load(file, str(path))
    except FileNotFoundError as problem:
        raise UserError(f"{path} is missing; the folder needs a file for every architecture") from problem
    except (OSError, EOFError) as problem:
        raise UserError(f"{path} cannot be read: {getattr(problem, 'strerror', None) or problem}") from problem
    if not isinstance(loaded, dict):
        raise UserError(f"{path} must hold a dict, got {type(loaded).__name__}")
    return loaded
