"""What machines read of a model: the front matter of its card, and its evaluation results in the Hub's format."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from huggingface_hub import EvalResult, EvalResultEntry, ModelCardData, eval_result_entries_to_yaml

from cnas.hub._markdown import last_part, one_line
from cnas.hub.known_data import known_data
from cnas.hub.measures import Measure, cut, measures, spread
from cnas.hub.model_kind import ModelKind
from cnas.hub.procedure import part

TAGS = ("cnas", "curriculum-nas", "neural-architecture-search")


def front_matter(result: Mapping[str, Any], kind: ModelKind, model_name: str, licence: str = "") -> str:
    """The YAML between the dashes, ``model-index`` included; its numbers are those of this model alone.

    Args:
        result: the contents of ``result.json``.
        kind: of the model.
        model_name: as the card is titled.
        licence: of the weights; empty where whoever publishes them has not chosen one.
    """
    dataset = last_part(part(result, "dataset").get("name") or "unnamed")
    known = known_data(dataset)
    data = ModelCardData(
        language=known.language,
        license=licence or "unknown",
        library_name="transformers",
        pipeline_tag=kind.task,
        tags=[*TAGS, *(_bare(result[key]) for key in ("algorithm", "space") if result.get(key))],
        datasets=[known.hub_id] if known.hub_id else None,
        metrics=list(kind.units),
        model_name=_bare(model_name),
        eval_results=[_entry(measure, result, kind, dataset) for measure in measures(result, kind.units)] or None,
    )
    text: str = data.to_yaml()
    return text


def eval_results(
    result: Mapping[str, Any], kind: ModelKind, others: Sequence[Mapping[str, Any]] = ()
) -> dict[str, str]:
    """The files of ``.eval_results/``, by name, as the Hub shows them on a model's page.

    There is none for data that is not on the Hub, nor where a part of the test split was measured.

    Args:
        result: the contents of ``result.json``.
        kind: of the model.
        others: of runs that differ in the seed alone; the notes give mean and spread.

    Example:
        >>> from cnas.hub.model_kind import LANGUAGE_MODEL
        >>> result = {"seed": 1, "dataset": {"name": "ptb_text_only"}, "retrain": {"test_perplexity": 94.2}}
        >>> print(eval_results(result, LANGUAGE_MODEL)["ptb_text_only.yaml"])
        - dataset:
            id: ptb-text-only/ptb_text_only
            task_id: perplexity
          value: 94.2
          notes: perplexity (per word), test split; one seed (1), not a mean
        <BLANKLINE>
    """
    hub_id = known_data(last_part(part(result, "dataset").get("name") or "unnamed")).hub_id
    tested = [measure for measure in measures(result, kind.units) if measure.split == "test"]
    if hub_id is None or not tested or cut(result, "test"):
        return {}
    entries = [
        EvalResultEntry(
            dataset_id=hub_id, task_id=measure.name, value=measure.value, notes=_notes(measure, result, others)
        )
        for measure in tested
    ]
    text = yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False, allow_unicode=True, width=1000)
    return {f"{hub_id.split('/')[1]}.yaml": text}


def _bare(value: Any) -> str:
    # A viewer that knows no front matter takes it for Markdown, so no HTML here either.
    return re.sub("[<>]", "", last_part(value)).strip() or "unnamed"


def _entry(measure: Measure, result: Mapping[str, Any], kind: ModelKind, dataset: str) -> EvalResult:
    known, short = known_data(dataset), cut(result, measure.split)
    return EvalResult(
        task_type=kind.task,
        dataset_type=_bare(known.hub_id or dataset),
        dataset_name=_bare(dataset),
        dataset_split=measure.split,
        dataset_args={"first": short[0], "of": short[1]} if short else None,
        metric_type=measure.name,
        metric_name=f"{measure.name} ({measure.unit}), seed {_bare(result.get('seed', 'unknown'))}",
        metric_value=measure.value,
    )


def _notes(measure: Measure, result: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> str:
    what = f"{measure.name} ({measure.unit}), {measure.split} split"
    seed, found = one_line(result.get("seed", "unknown")), spread(measure, others)
    if found is None:
        return f"{what}; one seed ({seed}), not a mean"
    return f"{what}; the model of seed {seed}; over {found.n} seeds {found.mean:.2f} ± {found.std:.2f} (mean, std)"
