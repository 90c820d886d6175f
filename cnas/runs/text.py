"""Runs on text: token streams, perplexities, and the language model that a run saves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from cnas.data.base import OrderedBatches
from cnas.data.chunks import PackedChunks
from cnas.data.streams import TextStreams, VariableStreams, halving_lengths, scattered_lengths
from cnas.data.text import TextConfig, TextData, load_text, read_evaluation
from cnas.data.tokenizers import FAST, WORD
from cnas.errors import UserError
from cnas.hub.artifacts import export_run
from cnas.metrics import perplexity
from cnas.runs.config import RunConfig
from cnas.runs.result import RunResult
from cnas.runs.task import RetrainResult, SampleView, SearchData, Task, read_benchmark
from cnas.training.evaluate import mean_loss, probed
from cnas.training.step_graphs import StepGraphs

PROBE_STREAMS = 10
"""Parallel streams of the validation after each epoch, as in the DARTS and AWD-LSTM codes."""

CONTEXT = 12
"""Tokens shown before a unit that is a single token."""


@dataclass(frozen=True, eq=False)
class TextTask(Task):
    """A run on text.

    Args:
        config: of the run, with the size of the vocabulary filled in.
        data: the text, as tokens.
    """

    data: TextData

    @classmethod
    def load(cls, config: RunConfig, *, data: Any = None, eval_data: Any = None, tokenizer: Any = None) -> TextTask:
        """Read the text; the arguments are those of `cnas.runs.task.load_task`.

        Raises:
            UserError: it cannot be used, is out of reach, or the table is of another space.
        """
        table = read_benchmark(config)
        assert config.text is not None
        text = load_text(
            config.data if data is None else data, config.text, eval_dataset=eval_data, tokenizer=tokenizer
        )
        if data is not None:
            config = replace(config, data=text.name)
        if tokenizer is not None:
            config = replace(config, text=replace(config.text, tokenizer=text.tokenizer))  # type: ignore[type-var]
        size = len(text.vocabulary)
        space, network = replace(config.space, vocab_size=size), replace(config.network, vocab_size=size)  # type: ignore[type-var]
        return cls(replace(config, space=space, network=network), text, table)

    @property
    def text(self) -> TextConfig:
        """How the text is cut into batches."""
        assert self.config.text is not None
        return self.config.text

    @property
    def fingerprint(self) -> str:
        """See `Task.fingerprint`; a tokenizer that is not made from the text counts as well."""
        data = self.data
        return f"{data.fingerprint}-{data.tokenizer}" if data.tokenizer.startswith(FAST) else data.fingerprint

    def dataset(self) -> dict[str, Any]:
        """See `Task.dataset`; where tokens are no words, what cut the text as well."""
        return super().dataset() | ({} if self.data.tokenizer == WORD else {"tokenizer": self.data.tokenizer})

    def check(self, processes: int) -> None:
        """See `Task.check`; a text may also be too short for its batches."""
        config = self.config
        if self.text.variable_length and config.retrain.curriculum is not None:
            raise UserError("text.variable_length must be off with retrain.curriculum, whose unit is a fixed chunk")
        if self.text.variable_length and config.curriculum and config.curriculum.active:
            raise UserError(
                "text.variable_length must be off with a curriculum, whose unit must be the same chunk in every epoch; "
                f"allowed with --no-curriculum or curriculum.k 0, got curriculum.k {config.curriculum.num_candidates}"
            )
        if self.text.variable_length and config.space.independent_rows:
            raise UserError(
                f"text.variable_length must be off with space {config.space.name}, whose chunks are all alike"
            )
        if not config.retrain.num_train_epochs and self.benchmark is None:
            raise UserError(
                "retrain.num_train_epochs must be at least 1 for text, got 0: without a table nothing knows what the "
                "network is worth"
            )
        if config.architecture is None:
            with _named("search: trainer.global_batch_size, trainer.eval_batch_size or text"):
                self.search_data()
        super().check(processes)
        if not config.retrain.num_train_epochs:
            return
        with _named(f"training: retrain.global_batch_size, {PROBE_STREAMS} streams of validation text, or text"):
            self.training()

    def remarks(self) -> list[str]:
        """How much of the text is used, where that is not all."""
        used, splits, config = self.dataset()["used"], self.data.splits, self.config
        unread = {"search": config.architecture is not None, "train": not config.retrain.num_train_epochs}
        whole = {name: splits["train" if name == "search" else name]["tokens"] for name in used if not unread.get(name)}
        cut = [f"{name} {used[name]:,} of {count:,}" for name, count in whole.items() if used[name] < count]
        return super().remarks() + ([f"tokens in use: {', '.join(cut)}"] if cut else [])

    def search_data(self) -> SearchData:
        """Chunks of the text; architecture steps read the validation text in order, in chunks of a fixed length."""
        config, length, tokens = self.config.trainer, self.text.length, self.data.search
        valid = self.valid_batches()
        if self.text.variable_length:
            seed = self.config.seed
            return SearchData(VariableStreams(tokens, config.global_batch_size, length, seed, halving_lengths), valid)
        unit = self.config.curriculum.unit if self.config.curriculum else "sequence"
        if unit == "sample":
            raise UserError("curriculum.unit must be sequence or token for text, got 'sample'")
        return SearchData(self._chunks(tokens, config.global_batch_size, unit), valid)

    def read(self, data: Any) -> Tensor:
        """See `Task.read`: token ids, int64 [N]."""
        return read_evaluation(data, self.text, self.data.vocabulary)

    def evaluation(self, data: Any = None) -> TextStreams:
        """See `Task.evaluation`; the text is one stream."""
        return self._whole(self.data.validation if data is None else data, 1)

    def valid_batches(self, data: Any = None) -> TextStreams:
        """See `Task.valid_batches`."""
        tokens = self.data.validation if data is None else data
        return TextStreams(tokens, self.config.trainer.eval_batch_size, self.text.length, context=self._context)

    def ranking_batches(self) -> tuple[TextStreams, None]:
        """See `Task.ranking_batches`: all of the validation text."""
        return self.valid_batches(), None

    def training(self) -> tuple[OrderedBatches, Callable[..., dict[str, float]]]:
        """Chunks of the whole training text; validation on a few parallel streams."""
        tokens, batch_size, length = self.data.train, self.config.retrain.global_batch_size, self.text.length
        probe = self._whole(self.data.validation, PROBE_STREAMS)
        train: OrderedBatches = (
            VariableStreams(tokens, batch_size, length, self.config.seed, scattered_lengths)
            if self.text.variable_length
            else self._chunks(tokens, batch_size)
        )
        return train, lambda network, **metrics: probed(network, probe, **metrics)

    def measure(self, network: Any, graphs: StepGraphs | None = None, *, valid_only: bool = False) -> RetrainResult:
        """The exact perplexity of the splits that there are: one stream each, so that every token is predicted once.

        It is per token; where these are no words, of each split that is used whole that per word as well, which is
        exp(total nats / words), and total nats / bytes; ends of lines included.
        """
        figures = {}
        for split, tokens in {"validation": self.data.validation, "test": self.data.test}.items():
            if tokens is None or (valid_only and split != "validation"):
                continue
            prefix, sizes = split.removesuffix("ation"), self.data.splits[split]
            loss = mean_loss(network, self.evaluation(tokens), graphs=graphs)
            figures[f"{prefix}_perplexity"] = perplexity(loss)
            if "words" in sizes and len(tokens) == sizes["tokens"]:
                figures[f"{prefix}_word_perplexity"] = perplexity(loss * len(tokens), sizes["words"])
                figures[f"{prefix}_nats_per_byte"] = loss * len(tokens) / sizes["bytes"]
        return RetrainResult(network, figures)

    def _chunks(self, tokens: Tensor, rows: int, unit: Literal["sequence", "token"] = "sequence") -> OrderedBatches:
        """Training chunks of a fixed length: of parallel streams, or in drawn orders where no state goes on."""
        if self.config.space.independent_rows:
            return PackedChunks(tokens, rows, self.text.length, unit, seed=self.config.seed)
        return TextStreams(tokens, rows, self.text.length, unit)

    @property
    def _context(self) -> int:
        """How many tokens before a chunk are read as well where it is measured and no state goes on."""
        return self.text.length // 2 if self.config.space.independent_rows else 0

    def _whole(self, tokens: Tensor, streams: int) -> TextStreams:
        start = self.data.vocabulary.eos_id
        return TextStreams(tokens, streams, self.text.length, start=start, tail="keep", context=self._context)

    def export(self, folder: Path, result: RunResult, trained: RetrainResult | None) -> None:
        """The language model with its tokenizer, generated lines, card and pictures."""
        source, network = self.data.vocabulary.source, trained.network if trained else None
        paper = self.config.search.algorithm.paper
        export_run(folder, result, network, source, space=self.config.space, paper=paper)

    def sample_views(self, units: Set[int]) -> dict[int, SampleView]:
        """The text of every unit; a unit of one token is marked and has the tokens before it."""
        train, decode, wanted = self.search_data().train, self.data.vocabulary.decode, torch.tensor(sorted(units))
        found: dict[int, SampleView] = {}
        for index in range(len(train)):
            batch = train.batch(index, slice(0, train.batch_size))
            for row in torch.isin(batch.unit_ids, wanted).any(dim=1).nonzero().flatten().tolist():
                ids, inputs, labels = (tensor[row].tolist() for tensor in (batch.unit_ids, batch.inputs, batch.labels))
                for unit in units & set(ids):
                    places = [place for place, each in enumerate(ids) if each == unit]
                    if len(places) > 1 or len(ids) == 1:
                        found[unit] = SampleView(decode(labels[place] for place in places))
                    else:
                        before = inputs[max(0, places[0] + 1 - CONTEXT) : places[0] + 1]
                        found[unit] = SampleView(decode(before), decode([labels[places[0]]]))
        return found


@contextmanager
def _named(what: str) -> Iterator[None]:
    """Say which part of the run, and which fields, a text was too short for."""
    try:
        yield
    except UserError as problem:
        raise UserError(f"{problem} ({what})") from problem
