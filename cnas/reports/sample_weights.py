"""The curriculum's weights in the last checkpoint of a search, and the texts or images they belong to."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from cnas.errors import CheckpointError, UserError
from cnas.reports import RunRecord, Sample, SampleWeights, formatted
from cnas.runs.config import RunConfig
from cnas.runs.folder import RunFolder
from cnas.runs.task import Task, load_task
from cnas.training import checkpoint

SHOWN = 6
"""So many of the heaviest units, and of the lightest, are shown."""


def sample_weights(record: RunRecord, task: Task | None = None) -> SampleWeights | None:
    """What a run's last checkpoint knows of its training data; None where no curriculum has weighed it.

    Args:
        record: of the run.
        task: its data, where the caller has read them already.
    """
    if not record.curriculum:
        return None
    try:
        loaded = checkpoint.load_newest(record.path / "checkpoints" / "search")
    except (CheckpointError, UserError) as problem:
        return _without_values(f"The weights of single samples are not shown: {formatted(problem, [record])}.")
    v = _weights_in(loaded.state) if loaded is not None else None
    if loaded is None or v is None:
        return None
    epoch = int(loaded.state.get("position", {}).get("epoch", 0))
    values_U = v.double().numpy()
    try:
        samples = _samples(record, v, task)
    except UserError as problem:
        note = f"The samples behind the weights are not shown: {formatted(problem, [record])}."
        return SampleWeights(epoch, values_U, note=note)
    if float(v.max()) == float(v.min()):
        return SampleWeights(epoch, values_U, note="All samples weigh the same so far.")
    return SampleWeights(epoch, values_U, *samples)


def _weights_in(state: dict[str, object]) -> Tensor | None:
    curriculum = state.get("curriculum")
    v = curriculum.get("v") if isinstance(curriculum, dict) else None
    return v if isinstance(v, Tensor) and v.numel() else None


def _without_values(note: str) -> SampleWeights:
    return SampleWeights(0, np.empty(0), note=note)


def _samples(record: RunRecord, v: Tensor, task: Task | None) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    config = RunConfig.from_json(record.config)
    task = task or load_task(config)
    _same_data(record, config, task.fingerprint)
    units = task.search_data().train.num_units
    if units != len(v):
        raise UserError(f"the data has {units} units and the checkpoint {len(v)} weights")
    order = torch.argsort(v, stable=True).tolist()
    count = min(SHOWN, len(order) // 2)
    heaviest, lightest = order[::-1][:count], order[:count]
    found = task.sample_views({*heaviest, *lightest})
    return tuple(tuple(Sample(unit, float(v[unit]), *found[unit]) for unit in units) for units in (heaviest, lightest))  # type: ignore[return-value] # a tuple of two


def _same_data(record: RunRecord, config: RunConfig, fingerprint: str) -> None:
    """Raise where the data is not what was searched on."""
    known, folder = RunFolder(record.path).fingerprint(), record.path / "checkpoints" / "search"
    if known not in (None, fingerprint):
        raise UserError(f"the data has changed: its fingerprint was {known}, now {fingerprint}")
    if not record.search:  # the search is not over: its checkpoints must be of this configuration
        checkpoint.load_newest(folder, config_hash=f"{config.hash}-{fingerprint}")
