"""The model card: what was searched, how well the found model does, and how to use it."""

from __future__ import annotations

import importlib.resources
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
from huggingface_hub import EvalResult, ModelCardData

from cnas.export import _markdown
from cnas.export._markdown import name, one_line
from cnas.types import Paper

CURRICULUM_NAS = Paper(
    title="Curriculum-NAS: Curriculum Weight-Sharing Neural Architecture Search",
    authors="Yuwei Zhou, Xin Wang, Hong Chen, Xuguang Duan, Chaoyu Guan, Wenwu Zhu",
    year=2022,
    url="https://doi.org/10.1145/3503161.3548271",
)

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)
_SPLITS = {"validation": "valid_perplexity", "test": "test_perplexity"}


def render_card(
    result: Mapping[str, Any],
    *,
    drawing: str,
    samples: Sequence[str],
    model_name: str,
    papers: Sequence[Paper] = (),
    folder: str = "model",
) -> str:
    """The text of a model's ``README.md``: YAML front matter, then Markdown.

    Strings are taken for what they are: none can add a field to the front matter, mark up the text around it, or show
    a folder of the machine the run was on.

    Args:
        result: the contents of ``result.json``; parts that are missing are left out.
        drawing: the cell, as `draw_cell` draws it.
        samples: lines the model generated.
        model_name: the title.
        papers: what to cite besides Curriculum-NAS.
        folder: where the model lies as seen from the card, or its id on the Hub.
    """
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    environment.filters.update(
        plain=_markdown.plain, code=_markdown.code, block=_markdown.block, number=_number, url=_url
    )
    template = importlib.resources.files("cnas.export") / "templates" / "model_card.md.jinja"
    cited = [CURRICULUM_NAS, *(paper for paper in papers if paper != CURRICULUM_NAS)]
    dataset = name(_part(result, "dataset").get("name", "unnamed"))
    text = environment.from_string(template.read_text(encoding="utf-8")).render(
        front_matter=_front_matter(result, dataset, model_name),
        model_name=name(model_name),
        algorithm=name(result.get("algorithm") or "unnamed"),
        curriculum=result.get("curriculum"),
        searched=bool(result.get("search")),
        space=name(result.get("space", "unnamed")),
        architecture=_part(result, "architecture").get("string", ""),
        drawing=_lines(drawing),
        snippet=_snippet(name(folder)),
        results=_perplexities(result),
        dataset=dataset,
        seed=result.get("seed", "unknown"),
        procedure=_procedure(result, dataset),
        samples=samples,
        environment=[(name(key), name(value)) for key, value in _part(result, "environment").items()],
        papers=cited,
        citation="\n\n".join(_bibtex(paper) for paper in cited),
    )
    return re.sub(r"\n{3,}", "\n\n", text).rstrip() + "\n"


def _part(result: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    return result.get(key) or {}


def _front_matter(result: Mapping[str, Any], dataset: str, model_name: str) -> str:
    # A viewer that knows no front matter takes it for Markdown, so no HTML here either.
    dataset, model_name, algorithm = (
        re.sub("[<>]", "", name(value)) or "unnamed"
        for value in (dataset, model_name, result.get("algorithm") or "given-architecture")
    )
    data = ModelCardData(
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["cnas", "curriculum-nas", "neural-architecture-search", algorithm],
        datasets=[dataset] if _HUB_ID.fullmatch(dataset) else None,
        metrics=["perplexity"],
        model_name=model_name,
        eval_results=[
            EvalResult(
                task_type="text-generation",
                dataset_type=dataset,
                dataset_name=dataset,
                dataset_split=split,
                metric_type="perplexity",
                metric_name="Perplexity per word",
                metric_value=value,
            )
            for split, value in _perplexities(result)
        ]
        or None,
    )
    text: str = data.to_yaml()
    return text


def _perplexities(result: Mapping[str, Any]) -> list[tuple[str, float]]:
    """(split, perplexity) wherever there is a finite one."""
    retrain = _part(result, "retrain")
    pairs = [(split, retrain.get(key)) for split, key in _SPLITS.items()]
    return [(split, float(value)) for split, value in pairs if isinstance(value, int | float) and math.isfinite(value)]


def _procedure(result: Mapping[str, Any], dataset: str) -> list[tuple[str, str]]:
    search, retrain = _part(result, "search"), _part(result, "retrain")
    rows = [
        ("Recipe", name(result["recipe"]) if result.get("recipe") else None),
        ("Data", f"{dataset}{_splits(_part(result, 'dataset'))}"),
        ("Of it used", _used(_part(result, "dataset"))),
        ("Search", _joined(search, {"epochs": "{:,} epochs", "steps": "{:,} weight steps", "seconds": "{:,.0f} s"})),
        ("Curriculum", _curriculum(result.get("curriculum")) if search else None),
        (
            "Training of the cell, from new weights",
            _joined(retrain, {"epochs": "{:,} epochs", "parameters": "{:,} parameters"}),
        ),
        ("Seed", str(result["seed"]) if "seed" in result else None),
    ]
    return [(label, value) for label, value in rows if value]


def _curriculum(curriculum: Mapping[str, Any] | None) -> str:
    if not curriculum:
        return "none; every training sample weighs the same"
    k, unit, refresh = (curriculum.get(key, "unknown") for key in ("k", "unit", "refresh"))
    return (
        f"{curriculum.get('name', 'curriculum')}: K = {k} subnets judge every {unit}, the uncertain ones weigh more; "
        f"weights are refreshed once per {refresh}"
    )


def _joined(values: Mapping[str, Any], formats: Mapping[str, str]) -> str:
    return ", ".join(
        text.format(values[key]) for key, text in formats.items() if isinstance(values.get(key), int | float)
    )


def _splits(dataset: Mapping[str, Any]) -> str:
    """`` (train 929,589 tokens, ...; fingerprint ...)``, or nothing."""
    splits = _part(dataset, "splits")
    parts = [f"{split} {_size(size)}" for split, size in splits.items()]
    marks = [", ".join(parts)] if parts else []
    marks += [f"fingerprint {dataset['fingerprint']}"] if dataset.get("fingerprint") else []
    return f" ({'; '.join(marks)})" if marks else ""


def _used(dataset: Mapping[str, Any]) -> str:
    """How many tokens the run took of each split; perplexities are those of the parts that were used."""
    return ", ".join(f"{name(part)} {_size(size)}" for part, size in _part(dataset, "used").items())


def _size(size: Any) -> str:
    tokens = size.get("tokens") if isinstance(size, Mapping) else size
    return f"{tokens:,} tokens" if isinstance(tokens, int) else name(tokens)


def _snippet(folder: str) -> str:
    # JSON's escapes are Python's too; `<` is escaped so that no reader of the card takes it for HTML.
    where = json.dumps(folder).replace("<", "\\u003c")
    return f"""\
import cnas  # lets transformers know the model
from transformers import AutoModelForCausalLM, AutoTokenizer

folder = {where}
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder)

inputs = tokenizer("the", return_tensors="pt")
tokens = model.generate(**inputs, do_sample=True, top_k=50, max_new_tokens=20)
print(tokenizer.decode(tokens[0]))"""


def _lines(text: str) -> str:
    """Several lines, each without characters that print nothing; indentation stays."""
    return "\n".join("".join(c if c.isprintable() else " " for c in line).rstrip() for line in text.split("\n"))


def _number(value: float) -> str:
    return f"{value:.2f}"


def _url(value: str) -> str:
    return re.sub(r"[<>\s]", "", one_line(value))


def _bibtex(paper: Paper) -> str:
    family = re.sub(r"\W", "", paper.authors.split(",")[0].split()[-1].lower()) if paper.authors.strip() else "unknown"
    word = re.sub(r"\W.*", "", paper.title.lower())
    fields = {"title": paper.title, "author": " and ".join(paper.authors.split(", ")), "year": paper.year}
    lines = [f"  {key} = {{{one_line(value)}}}," for key, value in {**fields, "url": paper.url}.items()]
    return "\n".join([f"@misc{{{family}{paper.year}{word},", *lines, "}"])
