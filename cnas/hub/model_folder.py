"""Writes a trained network and what it reads with as one folder, and draws lines out of it."""

from __future__ import annotations

import contextlib
import copy
import itertools
import shutil
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast
from transformers.image_processing_utils import BaseImageProcessor
from transformers.utils import logging

from cnas.durable import staged, sync
from cnas.errors import StorageError, UserError
from cnas.hub.remote_code import write_remote_code
from cnas.hub.tokenizer import build_tokenizer, padded
from cnas.random import generator

TEMPERATURE = 0.8
TOP_K = 50


TokenSource: TypeAlias = Sequence[str] | PreTrainedTokenizerFast
"""The words of a vocabulary, or a tokenizer."""


def save_model(network: PreTrainedModel, words: TokenSource, folder: str | Path) -> Path:
    """Write ``network`` and the tokenizer of its vocabulary, loadable by the Auto classes of `transformers`.

    The ids of ``<eos>``, which begins and ends a text, and of ``<pad>`` are written into the config and the generation
    config. What is written has one row more than ``network``, for ``<pad>``; the probabilities of the words are the
    same. A tokenizer that has a token for padding keeps it, and no row is added; beside a stock model of
    `transformers`, which has no row that it never answers, ``<eos>`` fills up rows instead. Generation never draws
    ``<unk>`` unless asked to. The code of the network lies beside its weights, so that it loads with
    ``trust_remote_code=True`` where this package is not installed. The folder appears whole or not at all; one that was
    there before is replaced.

    Args:
        network: the trained network; it is left as it is. It may have been loaded from such a folder.
        words: the vocabulary in the order of its ids, ``<unk>`` and ``<eos>`` among them; or a fast tokenizer with
            an ``eos_token``, which is left as it is.
        folder: where to write.

    Returns:
        ``folder`` as a `Path`.

    Raises:
        UserError: the network was built for another number of words, or its code cannot travel with it.
        StorageError: the disk refused; an earlier folder is untouched.
    """
    expected, count, stock = network.config.vocab_size, len(words), not hasattr(network.config, "pad_row")
    if getattr(network.config, "pad_row", None) is not None and getattr(words, "pad_token", None) is None:
        expected -= 1
    if expected != count:
        raise UserError(f"words must be as many as the network's vocab_size {expected}, got {count}")
    kind = padded if isinstance(words, PreTrainedTokenizerFast) else build_tokenizer
    tokenizer = kind(words, own_pad=not stock)
    return save_network(_with_special_ids(network, tokenizer), tokenizer, folder)


def save_network(
    network: PreTrainedModel, reader: PreTrainedTokenizerFast | BaseImageProcessor, folder: str | Path
) -> Path:
    """Write ``network``, what turns a user's input into its own, and their code as one folder.

    The folder appears whole or not at all; one that was there before is replaced.

    Args:
        network: a derived network.
        reader: its tokenizer or image processor.
        folder: where to write.

    Returns:
        ``folder`` as a `Path`.

    Raises:
        UserError: the code of one of them cannot travel with it; see `write_remote_code`.
        StorageError: the disk refused; an earlier folder is untouched.
    """
    folder = Path(folder)
    stage = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.partial")
    old = stage.with_suffix(".old")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with staged(folder, stage, old), _quiet():
            network.save_pretrained(stage)
            reader.save_pretrained(stage)
            write_remote_code(stage, network, reader)
            for file in stage.iterdir():
                sync(file)
    except OSError as error:
        raise StorageError(f"model folder {folder.name} could not be written: {error.strerror or error}") from error
    shutil.rmtree(old, ignore_errors=True)
    return folder


def generate_lines(
    source: str | Path | tuple[PreTrainedModel, PreTrainedTokenizerFast],
    count: int,
    seed: int,
    max_words: int = 25,
    prompt: str = "",
) -> list[str]:
    """Sample lines of text, each without ``<unk>`` and cut at ``<eos>``.

    The same seed gives the same lines, and torch's global generators are left as they were.

    Args:
        source: a folder that `save_model` wrote, or a (network, tokenizer) pair.
        count: how many lines.
        seed: what the draws start from.
        max_words: words drawn after the prompt, at most.
        prompt: how every line begins; it is repeated in the result.

    Raises:
        UserError: ``count`` or ``max_words`` is less than 1, or the folder is none that `save_model` wrote.
    """
    for name, value in (("count", count), ("max_words", max_words)):
        if value < 1:
            raise UserError(f"{name} must be at least 1, got {value}")
    if isinstance(source, tuple):
        return _lines(*source, count, seed, max_words, prompt)
    if not (Path(source) / "config.json").is_file():
        raise UserError(f"model must be a folder with a config.json, got {Path(source).name!r}")
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
        return _lines(load_network(source), tokenizer, count, seed, max_words, prompt)
    except Exception as problem:  # four formats, each with parsers of its own
        reason = " ".join(f"{type(problem).__name__}: {problem}".split())[:160]
        raise UserError(f"model {Path(source).name!r} cannot be used: {reason}") from problem


def _lines(
    network: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, count: int, seed: int, max_words: int, prompt: str
) -> list[str]:
    # In training every line follows an <eos>.
    ids = [tokenizer.eos_token_id, *tokenizer.encode(prompt, add_special_tokens=False)]
    inputs = torch.tensor([ids] * count, device=network.device)
    with _undisturbed(network, seed):
        rows = network.eval().generate(
            inputs,
            attention_mask=torch.ones_like(inputs),
            do_sample=True,
            temperature=TEMPERATURE,
            top_k=TOP_K,
            min_new_tokens=1,
            max_new_tokens=max_words,
            suppress_tokens=_never_drawn(network, tokenizer),
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.eos_token_id,
        )
    return [_line(row[1:].tolist(), len(ids) - 1, tokenizer) for row in rows]


def _line(ids: list[int], prompt: int, tokenizer: PreTrainedTokenizerFast) -> str:
    drawn = itertools.takewhile(lambda id: id != tokenizer.eos_token_id, ids[prompt:])
    return str(tokenizer.decode([*ids[:prompt], *drawn])).strip()


def _with_special_ids(network: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    """A copy that knows the special words, with a row for ``<pad>``."""
    network = copy.deepcopy(network)
    if getattr(network.config, "pad_row", None) is None and len(tokenizer) > network.config.vocab_size:
        with _undisturbed(network, 0), torch.no_grad():
            network.resize_token_embeddings(len(tokenizer), mean_resizing=False).weight[tokenizer.pad_token_id] = 0
        network.config.pad_row = tokenizer.pad_token_id
    for config in (network.config, network.generation_config):
        config.bos_token_id = config.eos_token_id = tokenizer.eos_token_id
        config.pad_token_id = tokenizer.pad_token_id
    network.generation_config.suppress_tokens = _never_drawn(network, tokenizer)
    return network


def load_network(folder: str | Path) -> PreTrainedModel:
    """The network of a model folder; code of its own and weights that are pickles are refused unasked."""
    from transformers import AutoConfig, AutoModelForImageClassification

    (name,) = AutoConfig.from_pretrained(folder, trust_remote_code=False).architectures
    auto = AutoModelForImageClassification if name.endswith("ForImageClassification") else AutoModelForCausalLM
    with _quiet():
        found: PreTrainedModel = auto.from_pretrained(folder, use_safetensors=True, trust_remote_code=False)
    return found


def _never_drawn(network: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> list[int] | None:
    """The tokens that are no text: the unknown one, and that of padding where `pad_row` does not exclude it already."""
    drawn = getattr(network.config, "pad_row", None) is None
    ids = {tokenizer.unk_token_id, tokenizer.pad_token_id if drawn else None}
    return sorted(ids - {None, tokenizer.eos_token_id}) or None


@contextlib.contextmanager
def _undisturbed(network: PreTrainedModel, seed: int) -> Iterator[None]:
    """Seeded global generators inside; the caller's, and the mode of the network, afterwards."""
    accelerator, device = torch.accelerator.current_accelerator(), network.device
    devices = [device] if accelerator is not None and accelerator.type == device.type else []
    was_training = network.training
    # Host memory's generator is always among those that are kept.
    with torch.random.fork_rng(devices=devices, device_type=device.type):
        torch.manual_seed(generator(seed, "generate").initial_seed())
        try:
            yield
        finally:
            network.train(was_training)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars: these models are written and read in a moment."""
    enabled = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if enabled:
            logging.enable_progress_bar()
