"""``metrics.jsonl``: one JSON object a line, durable row by row, cut back exactly when a run is resumed.

The lines are strict JSON, which knows no NaN and no infinity: such a number is written as ``null``.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cnas.durable import sync
from cnas.errors import StorageError, UserError, wrong_value

MACHINE_SUFFIXES = ("_seconds", "_per_second", "_memory")
"""Keys that end so depend on the machine; all others are equal between equal runs."""
Count = Annotated[int, Field(ge=0, lt=2**63)]


class _Row(BaseModel):
    """The types of what is read of a row; a float that was not finite is null, and other keys may hold anything."""

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)

    phase: str = ""
    epoch: Count = 0
    step: Count = 0
    train_loss: float | None = None
    valid_loss: float | None = None
    valid_perplexity: float | None = None
    valid_accuracy: float | None = None
    probe_architecture: str | None = None
    policy_entropy: float | None = None
    alphas: list[list[float | None]] | None = None
    weight_min: float | None = None
    weight_median: float | None = None
    weight_max: float | None = None
    weight_traces: list[float | None] | None = None
    effective_sample_size: float | None = None
    total_seconds: float | None = None
    bad_steps: Count = 0
    recoveries: Count = 0
    left_out: Count = 0


class MetricsLog:
    """The log of one run; one process writes it. A last line that a kill left half-written is dropped before the next.

    Args:
        path: the file, created with the first row; None where another process writes, so that nothing is done.

    Attributes:
        path: likewise.
        rows: how many rows it holds.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     log = MetricsLog(Path(folder) / "metrics.jsonl")
        ...     for epoch in range(3):
        ...         log.append({"epoch": epoch, "train_loss": float("nan")})
        ...     log.truncate(1)
        ...     read(log.path)
        [{'epoch': 0, 'train_loss': None}]
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._ends = [0]
        for line in [] if path is None else _whole_lines(path):
            self._ends.append(self._ends[-1] + len(line))

    @property
    def rows(self) -> int:
        """How many rows the file holds."""
        return len(self._ends) - 1

    def append(self, row: Mapping[str, Any]) -> None:
        """Write one row and wait until it is on the disk.

        Raises:
            StorageError: the disk refuses; the rows before are untouched.
            TypeError: ``row`` holds what JSON cannot, e.g. a tensor.
        """
        if self.path is None:
            return
        line = json.dumps(json_safe(row), allow_nan=False).encode() + b"\n"
        self._cut()
        try:
            with self.path.open("ab") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
            if not self.rows:
                sync(self.path.parent)
        except OSError as error:
            self._cut()
            raise StorageError(
                f"{self.path}: row {self.rows + 1} was not written: {error.strerror or error}"
            ) from error
        self._ends.append(self._ends[-1] + len(line))

    def truncate(self, rows: int) -> None:
        """Keep the first ``rows`` rows, as a checkpoint counted them.

        The cut is one system call, so a kill leaves the file either as it was or as it should be.

        Raises:
            UserError: the file has fewer rows.
            StorageError: the disk refuses.
        """
        if self.path is None:
            return
        if not 0 <= rows <= self.rows:
            raise UserError(f"{self.path} cannot be cut back to {rows} rows, it has {self.rows}")
        del self._ends[rows + 1 :]
        self._cut()

    def forget(self, phase: str) -> None:
        """Drop the rows of a phase that was killed before its first checkpoint."""
        phases = [] if self.path is None else [row.get("phase") for row in read(self.path)]
        self.truncate(phases.index(phase) if phase in phases else len(phases))

    def _cut(self) -> None:
        """Drop whatever lies behind the last row."""
        assert self.path is not None
        try:
            if self.path.exists() and self.path.stat().st_size > self._ends[-1]:
                with self.path.open("r+b") as file:
                    file.truncate(self._ends[-1])
                    os.fsync(file.fileno())
        except OSError as error:
            raise StorageError(f"{self.path} cannot be cut back: {error.strerror or error}") from error


def read(path: Path) -> list[dict[str, Any]]:
    """All rows of a log; a half-written last line is left out.

    Raises:
        UserError: the file cannot be read, or a line is not a JSON object of values that a run writes; the message has
            its number.
    """
    try:
        return [_row(path, number, line) for number, line in enumerate(_whole_lines(path), start=1)]
    except OSError as problem:
        raise UserError(f"{path} cannot be read: {problem.strerror}") from problem


def stable(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row without what depends on the machine.

    Example:
        >>> stable({"epoch": 1, "train_seconds": 0.3, "tokens_per_second": 9.0, "peak_memory": 5})
        {'epoch': 1}
    """
    return {key: value for key, value in row.items() if not key.endswith(MACHINE_SUFFIXES)}


def _whole_lines(path: Path) -> list[bytes]:
    """The lines that end in a newline."""
    if not path.exists():
        return []
    return [line + b"\n" for line in path.read_bytes().split(b"\n")[:-1]]


def _row(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict):
        raise UserError(f"{path}, line {number}: must be a JSON object, got {line[:60]!r}")
    try:
        _Row.model_validate(row)
    except ValidationError as problem:
        raise UserError(f"{path}, line {number}: {wrong_value(problem, row)}") from problem
    return row


def json_safe(value: Any) -> Any:
    """``value`` with null for every float that JSON cannot write."""
    if isinstance(value, Mapping):
        return {key: json_safe(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_safe(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
