"""The curriculum's weights in the last checkpoint of a search, and the texts they belong to."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from cnas.data.base import OrderedBatches
from cnas.data.text import TextData, load_text
from cnas.data.vocabulary import Vocabulary
from cnas.errors import CheckpointError, UserError
from cnas.export.report import RunRecord, Sample, SampleWeights, spoken
from cnas.run_config import RunConfig
from cnas.run_data import search_streams
from cnas.training import checkpoint

SHOWN = 6
"""So many of the heaviest units, and of the lightest, are shown."""
CONTEXT = 12
"""Words before a unit that is a single token."""


def sample_weights(record: RunRecord, text: TextData | None = None) -> SampleWeights | None:
    """What a run's last checkpoint knows of its training data; None where no curriculum has weighed it.

    Args:
        record: of the run.
        text: its data, where the caller has read them already.
    """
    if not record.curriculum:
        return None
    try:
        loaded = checkpoint.load_newest(record.path / "checkpoints" / "search")
    except (CheckpointError, UserError) as problem:
        return _without_values(f"The weights of single samples are not shown: {spoken(problem, [record])}.")
    v = _weights_in(loaded.state) if loaded is not None else None
    if loaded is None or v is None:
        return None
    epoch = int(loaded.state.get("position", {}).get("epoch", 0))
    values_U = v.double().numpy()
    try:
        samples = _samples(record, v, text)
    except UserError as problem:
        note = f"The texts behind the weights are not shown: {spoken(problem, [record])}."
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


def _samples(record: RunRecord, v: Tensor, text: TextData | None) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    config = RunConfig.from_json(record.config)
    text = text or load_text(config.options.data, config.text)
    _same_text(record, config, text)
    train, _ = search_streams(config, text)
    if train.num_units != len(v):
        raise UserError(f"the data has {train.num_units} units and the checkpoint {len(v)} weights")
    order = torch.argsort(v, stable=True).tolist()
    count = min(SHOWN, len(order) // 2)
    heaviest, lightest = order[::-1][:count], order[:count]
    found = _texts(train, text.vocabulary, {*heaviest, *lightest})
    return tuple(tuple(Sample(unit, float(v[unit]), *found[unit]) for unit in units) for units in (heaviest, lightest))  # type: ignore[return-value] # a tuple of two


def _same_text(record: RunRecord, config: RunConfig, text: TextData) -> None:
    """Raise where ``text`` is not what was searched on."""
    known = record.search.get("fingerprint") or record.result.get("dataset", {}).get("fingerprint")
    if known is None:  # the search is not over: its checkpoints name the data
        checkpoint.load_newest(record.path / "checkpoints" / "search", config_hash=f"{config.hash}-{text.fingerprint}")
    elif known != text.fingerprint:
        raise UserError(f"the data has changed: its fingerprint was {known}, now {text.fingerprint}")


def _texts(train: OrderedBatches, vocabulary: Vocabulary, units: set[int]) -> dict[int, tuple[str, str]]:
    """(words, marked word) of every unit; a unit of one token is marked and has the words before it."""
    wanted = torch.tensor(sorted(units))
    found: dict[int, tuple[str, str]] = {}
    for index in range(len(train)):
        batch = train.batch(index, slice(0, train.batch_size))
        for row in torch.isin(batch.unit_ids, wanted).any(dim=1).nonzero().flatten().tolist():
            ids, inputs, labels = (tensor[row].tolist() for tensor in (batch.unit_ids, batch.inputs, batch.labels))
            for unit in units & set(ids):
                places = [place for place, each in enumerate(ids) if each == unit]
                if len(places) > 1 or len(ids) == 1:
                    found[unit] = " ".join(vocabulary.words[labels[place]] for place in places), ""
                else:
                    before = inputs[max(0, places[0] + 1 - CONTEXT) : places[0] + 1]
                    found[unit] = (
                        " ".join(vocabulary.words[word] for word in before),
                        vocabulary.words[labels[places[0]]],
                    )
    return found
