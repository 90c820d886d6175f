"""The token streams of a run, and whether everything fits together: asked before anything is trained or written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cnas.data.base import OrderedBatches
from cnas.data.streams import TextStreams
from cnas.data.text import TextData
from cnas.data.variable import VariableStreams, halving_lengths, scattered_lengths
from cnas.errors import UserError
from cnas.run_config import RunConfig
from cnas.training.trainer import check_judges

PROBE_STREAMS = 10
"""Parallel streams of the validation after each epoch, as in the DARTS and AWD-LSTM codes."""


def search_streams(config: RunConfig, text: TextData) -> tuple[OrderedBatches, TextStreams]:
    """Training and validation batches of the search; those of validation have a fixed length."""
    trainer, length = config.trainer, config.text.length
    valid = TextStreams(text.validation, trainer.valid_batch_size, length)
    if config.text.variable_length:
        seed = config.options.seed
        return VariableStreams(text.search, trainer.batch_size, length, seed, halving_lengths), valid
    unit = config.curriculum.unit if config.curriculum else "sequence"
    return TextStreams(text.search, trainer.batch_size, length, unit), valid


def retrain_streams(config: RunConfig, text: TextData) -> tuple[OrderedBatches, TextStreams]:
    """Training batches of the derived network, and the few streams on which it is validated after each epoch."""
    batch_size, length, eos = config.retrain.batch_size, config.text.length, text.vocabulary.eos_id
    probe = TextStreams(text.validation, PROBE_STREAMS, length, start=eos, tail="keep")
    if config.text.variable_length:
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
    if config.text.variable_length and k > 0:
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
    if config.options.architecture is None:
        with _named("search: trainer.batch_size, trainer.valid_batch_size or text"):
            search_streams(config, text)
        config.trainer.check_processes(processes, "trainer.")
        if config.trainer.valid_batch_size < processes:
            found = config.trainer.valid_batch_size
            raise UserError(f"trainer.valid_batch_size must be at least the {processes} processes, got {found}")
        if config.curriculum:
            check_judges(config.curriculum, config.space)
    else:
        config.space.parse(config.options.architecture)
    with _named(f"training: retrain.batch_size, {PROBE_STREAMS} streams of validation text, or text"):
        retrain_streams(config, text)
    config.retrain.check_processes(processes, "retrain.")
