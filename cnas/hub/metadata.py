"""Machine-readable metadata of a model: YAML front matter and evaluation results."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from huggingface_hub import EvalResult, EvalResultEntry, ModelCardData, eval_result_entries_to_yaml

from cnas.hub._markdown import last_part
from cnas.hub.card_rows import spread
from cnas.hub.model_kind import ModelKind
from cnas.runs.measures import Metric
from cnas.runs.result import RunResult
from cnas.types import Paper

TAGS = ("cnas", "curriculum-nas", "neural-architecture-search")
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)
_SPLITS = {"validation": "valid", "test": "test"}
"""By the name that readers know, how ``result.json`` begins a split's keys."""
_PTB = Paper(
    "Building a Large Annotated Corpus of English: The Penn Treebank",
    "Mitchell P. Marcus, Beatrice Santorini, Mary Ann Marcinkiewicz",
    1993,
    "https://aclanthology.org/J93-2004/",
)
_CIFAR = Paper(
    "Learning Multiple Layers of Features from Tiny Images",
    "Alex Krizhevsky",
    2009,
    "https://www.cs.toronto.edu/~kriz/learning-features-2009-TR.pdf",
)
_DIGITS = Paper(
    "Optical Recognition of Handwritten Digits", "Ethem Alpaydin, Cenk Kaynak", 1998, "https://doi.org/10.24432/C50P49"
)


@dataclass(frozen=True, kw_only=True)
class KnownData:
    """A data set as the Hub knows it.

    Args:
        hub_id: ``owner/name``; None where it is not there.
        language: ISO 639-1 code; None where it has none, or nobody said.
        paper: where it was published, if it is known.
    """

    hub_id: str | None = None
    language: str | None = None
    paper: Paper | None = None


_KNOWN = {
    "pydoc": KnownData(language="en"),
    "ptb_text_only": KnownData(hub_id="ptb-text-only/ptb_text_only", language="en", paper=_PTB),
    "cifar10": KnownData(hub_id="uoft-cs/cifar10", paper=_CIFAR),
    "cifar100": KnownData(hub_id="uoft-cs/cifar100", paper=_CIFAR),
    "digits": KnownData(paper=_DIGITS),
}


def known_data(name: str) -> KnownData:
    """What is known of a data set by the name that results give it; of others, their id where it looks like one.

    Example:
        >>> known_data("ptb_text_only").hub_id, known_data("ada/poems").hub_id, known_data("poems").hub_id
        ('ptb-text-only/ptb_text_only', 'ada/poems', None)
    """
    by_id = {data.hub_id: data for data in _KNOWN.values() if data.hub_id}
    return (_KNOWN | by_id).get(name) or KnownData(hub_id=name if _HUB_ID.fullmatch(name) else None)


def measured(result: RunResult, metric: Metric) -> dict[str, float]:
    """By split (``validation``, ``test``), what the retrained network reached, where that is a finite number.

    Args:
        result: of the run.
        metric: of its kind of model.
    """
    found = {split: result.metrics(key).get(metric.name) for split, key in _SPLITS.items()}
    return {split: value for split, value in found.items() if value is not None}


def front_matter(result: RunResult, kind: ModelKind, model_name: str, licence: str = "") -> str:
    """The YAML between the dashes, ``model-index`` included; its numbers are those of this model alone.

    Args:
        result: of the run.
        kind: of the model.
        model_name: as the card is titled.
        licence: of the weights; empty where whoever publishes them has not chosen one.
    """
    known = known_data(last_part(result.dataset.name))
    values = measured(result, kind.metric)
    data = ModelCardData(
        language=known.language,
        license=licence or "unknown",
        library_name="transformers",
        pipeline_tag=kind.task,
        tags=[*TAGS, *(_bare(name) for name in (result.algorithm, result.space) if name)],
        datasets=[known.hub_id] if known.hub_id else None,
        metrics=[kind.metric.name],
        model_name=_bare(model_name),
        eval_results=[_entry(result, kind, known, split, value) for split, value in values.items()] or None,
    )
    text: str = data.to_yaml()
    return text


def eval_results(result: RunResult, kind: ModelKind, others: Sequence[RunResult] = ()) -> dict[str, str]:
    """The files of ``.eval_results/``, by name, as the Hub shows them on a model's page.

    There is none for data that is not on the Hub, nor where a part of the test split was measured.

    Args:
        result: of the run.
        kind: of the model.
        others: of runs that differ in the seed alone; the notes give mean and spread.

    Example:
        >>> from cnas.hub.model_kind import LANGUAGE_MODEL
        >>> result = RunResult.from_json({
        ...     "seed": 1, "space": "enas_rnn", "architecture": {"string": "0 0 1 1"},
        ...     "dataset": {"name": "ptb_text_only", "fingerprint": "6112987de8310395"},
        ...     "retrain": {"test_perplexity": 94.2},
        ... })
        >>> print(eval_results(result, LANGUAGE_MODEL)["ptb_text_only.yaml"])
        - dataset:
            id: ptb-text-only/ptb_text_only
            task_id: perplexity
          value: 94.2
          notes: perplexity (per word), test split; one seed (1), not a mean
        <BLANKLINE>
    """
    hub_id, metric = known_data(last_part(result.dataset.name)).hub_id, kind.metric
    values = [found["test"] for run in (result, *others) if "test" in (found := measured(run, metric))]
    if hub_id is None or "test" not in measured(result, metric) or result.dataset.first_part("test"):
        return {}
    notes = f"{metric.name} ({metric.unit}), test split; "
    if len(values) > 1:
        notes += f"the model of seed {result.seed}; over {len(values)} seeds {spread(values)} (mean, std)"
    else:
        notes += f"one seed ({result.seed}), not a mean"
    entry = EvalResultEntry(dataset_id=hub_id, task_id=metric.name, value=values[0], notes=notes)
    text = yaml.safe_dump(eval_result_entries_to_yaml([entry]), sort_keys=False, allow_unicode=True, width=1000)
    return {f"{hub_id.split('/')[1]}.yaml": text}


def _bare(value: Any) -> str:
    # A viewer that knows no front matter takes it for Markdown, so no HTML here either.
    return re.sub("[<>]", "", last_part(value)).strip() or "unnamed"


def _entry(result: RunResult, kind: ModelKind, known: KnownData, split: str, value: float) -> EvalResult:
    part = result.dataset.first_part(split)
    return EvalResult(
        task_type=kind.task,
        dataset_type=_bare(known.hub_id or result.dataset.name),
        dataset_name=_bare(result.dataset.name),
        dataset_split=split,
        dataset_args={"first": part[0], "of": part[1]} if part else None,
        metric_type=kind.metric.name,
        metric_name=f"{kind.metric.name} ({kind.metric.unit}), seed {result.seed}",
        metric_value=value,
    )
