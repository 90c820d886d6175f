"""Runs on text: token streams, perplexities, the language model that is left behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from cnas.data.base import OrderedBatches
from cnas.data.streams import TextStreams
from cnas.data.text import TextConfig, TextData, load_text
from cnas.data.variable import VariableStreams, halving_lengths, scattered_lengths
from cnas.errors import UserError
from cnas.hub.artifacts import export_run
from cnas.metrics import perplexity
from cnas.runs.checks import check_search, check_training
from cnas.runs.config import RunConfig
from cnas.runs.task import SearchData, SampleView, RetrainResult
from cnas.training.evaluate import mean_loss
from cnas.types import Architecture, Paper

PROBE_STREAMS = 10
"""Parallel streams of the validation after each epoch, as in the DARTS and AWD-LSTM codes."""

CONTEXT = 12
"""Words shown before a unit that is a single token."""


@dataclass(frozen=True, eq=False)
class TextTask:
    """A run on text.

    Args:
        config: of the run, with the size of the vocabulary filled in.
        text: the data, as tokens.
    """

    config: RunConfig
    text: TextData

    @classmethod
    def load(cls, config: RunConfig) -> TextTask:
        """Read the text.

        Raises:
            UserError: it cannot be used, is out of reach, or is to be looked up in a table of image classifiers.
        """
        if config.options.table is not None:
            raise UserError(f"table must be none for text, got {config.options.table!r}")
        text = load_text(config.options.data, text_config(config))
        words = len(text.vocabulary)
        space, network = replace(config.space, vocab_size=words), replace(config.network, vocab_size=words)  # type: ignore[type-var]
        return cls(replace(config, space=space, network=network), text)

    @property
    def fingerprint(self) -> str:
        """Of the text."""
        return self.text.fingerprint

    def dataset(self) -> dict[str, Any]:
        """Name, fingerprint, splits, and how many tokens of each are used."""
        text = self.text
        return {"name": text.name, "fingerprint": text.fingerprint, "splits": text.splits, "used": used(text)}

    def remarks(self) -> list[str]:
        """Nothing: a text is used as it is, or refused."""
        return []

    def check(self, processes: int) -> None:
        """See `check`."""
        check(self.config, self.text, processes)

    def search_data(self) -> SearchData:
        """Chunks of the text; architecture steps read the validation text in order."""
        return SearchData(*search_streams(self.config, self.text))

    def training(self) -> tuple[OrderedBatches, Callable[[Any], dict[str, float]]]:
        """Chunks of the whole training text; validation on a few parallel streams."""
        train, probe = retrain_streams(self.config, self.text)
        return train, lambda network: probed(network, probe)

    def measure(self, network: Any) -> RetrainResult:
        """The exact perplexity per word of both splits: one stream each, so that every token is predicted once."""
        length, eos = text_config(self.config).length, self.text.vocabulary.eos_id
        streams = {
            split: TextStreams(tokens, 1, length, start=eos, tail="keep")
            for split, tokens in (("valid", self.text.validation), ("test", self.text.test))
        }
        found = {f"{split}_perplexity": perplexity(mean_loss(network, each)) for split, each in streams.items()}
        return RetrainResult(network, found)

    has_benchmark = False

    def look_up(self, architecture: Architecture, losses: Mapping[str, float]) -> None:
        """No benchmark knows recurrent cells."""

    def export(self, folder: Path, result: Mapping[str, Any], trained: RetrainResult | None, paper: Paper) -> None:
        """The language model with its tokenizer, generated lines, card and pictures."""
        words, network = self.text.vocabulary.words, trained.network if trained else None
        export_run(folder, result, network, words, space=self.config.space, paper=paper)

    def sample_views(self, units: Set[int]) -> dict[int, SampleView]:
        """The words of every unit; a unit of one token is marked and has the words before it."""
        train, _ = search_streams(self.config, self.text)
        words, wanted = self.text.vocabulary.words, torch.tensor(sorted(units))
        found: dict[int, SampleView] = {}
        for index in range(len(train)):
            batch = train.batch(index, slice(0, train.batch_size))
            for row in torch.isin(batch.unit_ids, wanted).any(dim=1).nonzero().flatten().tolist():
                ids, inputs, labels = (tensor[row].tolist() for tensor in (batch.unit_ids, batch.inputs, batch.labels))
                for unit in units & set(ids):
                    found[unit] = _words(unit, ids, [words[word] for word in inputs], [words[word] for word in labels])
        return found


def _words(unit: int, ids: list[int], inputs: list[str], labels: list[str]) -> SampleView:
    places = [place for place, each in enumerate(ids) if each == unit]
    if len(places) > 1 or len(ids) == 1:
        return SampleView(" ".join(labels[place] for place in places))
    return SampleView(" ".join(inputs[max(0, places[0] + 1 - CONTEXT) : places[0] + 1]), labels[places[0]])


def text_config(config: RunConfig) -> TextConfig:
    """The ``text`` of a run on text."""
    assert config.text is not None
    return config.text


def used(text: TextData) -> dict[str, int]:
    """How many tokens of each split the run uses."""
    return {name: len(getattr(text, name)) for name in ("search", "train", "validation", "test")}


def probed(network: Any, streams: OrderedBatches) -> dict[str, float]:
    """Mean loss in nats and perplexity per word, as a row of the training has them."""
    loss = mean_loss(network, streams)
    return {"valid_loss": loss, "valid_perplexity": perplexity(loss)}


def search_streams(config: RunConfig, text: TextData) -> tuple[OrderedBatches, TextStreams]:
    """Training and validation batches of the search; those of validation have a fixed length."""
    trainer, length = config.trainer, text_config(config).length
    valid = TextStreams(text.validation, trainer.valid_batch_size, length)
    if text_config(config).variable_length:
        seed = config.options.seed
        return VariableStreams(text.search, trainer.batch_size, length, seed, halving_lengths), valid
    unit = config.curriculum.unit if config.curriculum else "sequence"
    if unit == "sample":
        raise UserError("curriculum.unit must be sequence or token for text, got 'sample'")
    return TextStreams(text.search, trainer.batch_size, length, unit), valid


def retrain_streams(config: RunConfig, text: TextData) -> tuple[OrderedBatches, TextStreams]:
    """Training batches of the derived network, and the few streams on which it is validated after each epoch."""
    batch_size, length, eos = config.retrain.batch_size, text_config(config).length, text.vocabulary.eos_id
    probe = TextStreams(text.validation, PROBE_STREAMS, length, start=eos, tail="keep")
    if text_config(config).variable_length:
        return VariableStreams(text.train, batch_size, length, config.options.seed, scattered_lengths), probe
    return TextStreams(text.train, batch_size, length), probe


@contextmanager
def _named(what: str) -> Iterator[None]:
    """Say which part of the run, and which fields, a text was too short for."""
    try:
        yield
    except UserError as problem:
        raise UserError(f"{problem} ({what})") from problem


def _check_lengths(config: RunConfig) -> None:
    k = config.curriculum.k if config.curriculum else 0
    if text_config(config).variable_length and k > 0:
        raise UserError(
            "text.variable_length must be off with a curriculum, whose unit must be the same chunk in every epoch; "
            f"allowed with --no-curriculum or curriculum.k 0, got curriculum.k {k}"
        )


def check(config: RunConfig, text: TextData, processes: int) -> None:
    """Raise what a later part of the run would raise.

    Args:
        config: with the vocabulary size of ``text``.
        text: the data.
        processes: how many share a batch.

    Raises:
        UserError: a text is too short for its batches, a batch too small for the processes, K above the number of
            architectures, lengths vary under a curriculum, or the architecture to train is none of the space.
    """
    _check_lengths(config)
    if not config.retrain.epochs:
        raise UserError(
            "retrain.epochs must be at least 1 for text, got 0: no benchmark knows what the network is worth"
        )
    if config.options.architecture is None:
        with _named("search: trainer.batch_size, trainer.valid_batch_size or text"):
            search_streams(config, text)
    check_search(config, processes)
    with _named(f"training: retrain.batch_size, {PROBE_STREAMS} streams of validation text, or text"):
        retrain_streams(config, text)
    check_training(config, processes)
