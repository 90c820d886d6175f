"""The model card: what was searched, how well the found model does, and how to use it."""

from __future__ import annotations

import functools
import importlib.resources
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jinja2

from cnas.errors import UserError
from cnas.hub import _markdown
from cnas.hub._markdown import last_part
from cnas.hub.benchmark_metrics import benchmark_metrics, spreads
from cnas.hub.citations import CURRICULUM_NAS, Citation, bibtex, citations
from cnas.hub.known_data import known_data
from cnas.hub.measures import Measure, cut, measures, spread
from cnas.hub.metadata import front_matter
from cnas.hub.model_kind import LANGUAGE_MODEL, ModelKind
from cnas.hub.procedure import Rows, flat, part, procedure, settings, trouble
from cnas.types import Paper

CELL_PICTURE = "figures/cell.svg"
"""Where the drawing of the cell lies, as seen from the card."""
_LICENCE = re.compile(r"[a-z0-9][a-z0-9.-]*", re.ASCII)
_ALIKE = ("space", "algorithm", "curriculum")
"""What runs that differ in the seed alone have in common, beside their data."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """All that a card is made of; strings are taken for what they are, see `render_card`.

    Args:
        result: the contents of ``result.json``; parts that are missing are left out.
        model_name: the title.
        drawing: the cell, as `draw_cell` draws it.
        picture: what `save_cell_picture` returned: the cell in words, for those who do not see its picture; empty where
            there is no picture.
        kind: of the model.
        config: the contents of ``config.json``, for the table of settings; never shown is where the data lies.
        others: ``result.json`` of runs that differ in the seed alone; results then have a mean and a spread.
        samples: lines the model generated.
        papers: what to cite for a part of the run, beside the papers of the curriculum, the data and ``kind``.
        folder: where the model lies as seen from the card, or its id on the Hub.
        licence: the Hub's identifier of the licence of the weights, e.g. ``cc-by-4.0``; empty where none was chosen.

    Raises:
        UserError: one of ``others`` has the same seed as another run, or differs in more than the seed; ``licence`` is
            no identifier.
    """

    result: Mapping[str, Any]
    model_name: str
    drawing: str
    picture: str = ""
    kind: ModelKind = LANGUAGE_MODEL
    config: Mapping[str, Any] = field(default_factory=dict)
    others: Sequence[Mapping[str, Any]] = ()
    samples: Sequence[str] = ()
    papers: Mapping[str, Paper | None] = field(default_factory=dict)
    folder: str = "model"
    licence: str = ""

    def __post_init__(self) -> None:
        if self.licence and not _LICENCE.fullmatch(self.licence):
            raise UserError(f"license must be an identifier of the Hub such as apache-2.0, got {self.licence[:40]!r}")
        seeds = [run.get("seed") for run in self.runs]
        for index, run in enumerate(self.others, 1):
            if run.get("seed") in seeds[:index]:
                raise UserError(f"others must differ in their seed, got seed {run.get('seed')!r} twice")
            for name, mine, theirs in zip(("dataset", *_ALIKE), _kin(self.result), _kin(run), strict=True):
                if mine != theirs:
                    raise UserError(f"others must differ in the seed alone, got {name} {theirs!r} beside {mine!r}")

    @property
    def runs(self) -> list[Mapping[str, Any]]:
        """The results of all seeds, this model's first."""
        return [self.result, *self.others]

    @property
    def dataset(self) -> str:
        """The name of the data, without folders."""
        return last_part(part(self.result, "dataset").get("name") or "unnamed")

    @property
    def citations(self) -> list[Citation]:
        """The papers behind the parts of the run."""
        curriculum = CURRICULUM_NAS if self.result.get("curriculum") else None
        data = known_data(self.dataset).paper
        return citations([("Curriculum", curriculum), *self.papers.items(), *self.kind.papers.items(), ("Data", data)])


def render_card(card: Card) -> str:
    """The text of a model's ``README.md``: YAML front matter, then Markdown.

    Strings are taken for what they are: none can add a field to the front matter, mark up the text around it, or show
    a folder of the machine the run was on.

    Args:
        card: all that it is made of.

    Example:
        >>> result = {"seed": 1, "space": "enas_rnn", "retrain": {"test_perplexity": 94.2}}
        >>> text = render_card(Card(result=result, model_name="first", drawing="node 1 = tanh(input)"))
        >>> "| unnamed | test | perplexity (per word) | 94.20 |" in text
        True
    """
    return re.sub(r"\n{3,}", "\n\n", _template().render(_facts(card))).rstrip() + "\n"


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    environment.filters.update(plain=_markdown.plain, code=_markdown.code, block=_markdown.block)
    path = importlib.resources.files("cnas.hub") / "templates" / "model_card.md.jinja"
    return environment.from_string(path.read_text(encoding="utf-8"))


def _facts(card: Card) -> dict[str, Any]:
    result, found = card.result, card.citations
    return {
        "front_matter": front_matter(result, card.kind, card.model_name, card.licence),
        "licence": card.licence,
        "model_name": last_part(card.model_name),
        "kind": card.kind,
        "algorithm": last_part(result.get("algorithm") or "unnamed"),
        "curriculum": result.get("curriculum"),
        "searched": bool(result.get("search")),
        "trained": bool(result.get("retrain")),
        "space": last_part(result.get("space") or "unnamed"),
        "architecture": part(result, "architecture").get("string", ""),
        "dataset": card.dataset,
        "hub_id": known_data(card.dataset).hub_id,
        "drawing": _lines(card.drawing),
        "picture": {"place": CELL_PICTURE, "words": card.picture} if card.picture else None,
        "snippet": _snippet(card),
        "results": [_row(measure, card) for measure in measures(result, card.kind.units)],
        "seeds": [last_part(run.get("seed", "unknown")) for run in card.runs],
        "benchmark": benchmark_metrics(result),
        "benchmark_spread": spreads(card.runs) if card.others else {},
        "procedure": procedure(result),
        "trouble": trouble(result),
        "settings": settings(card.config),
        "samples": card.samples,
        "environment": _environment(result),
        "citations": found,
        "bibtex": "\n\n".join(bibtex(citation.paper) for citation in found),
    }


def _kin(result: Mapping[str, Any]) -> list[Any]:
    return [part(result, "dataset").get("fingerprint"), *(result.get(name) for name in _ALIKE)]


def _row(measure: Measure, card: Card) -> dict[str, str]:
    """The cells of one measure; the mean is that of all seeds, and empty where there is one."""
    found, short = spread(measure, card.others), cut(card.result, measure.split)
    return {
        "split": f"{measure.split} (the first {short[0]:,} of {short[1]:,})" if short else measure.split,
        "measure": f"{measure.name} ({measure.unit})",
        "value": f"{measure.value:.2f}",
        "mean": f"{found.mean:.2f} ± {found.std:.2f} (n = {found.n})" if found else "",
    }


def _environment(result: Mapping[str, Any]) -> Rows:
    return flat(part(result, "environment"))


def _snippet(card: Card) -> str:
    # JSON's escapes are Python's too; `<` is escaped so that no reader of the card takes it for HTML.
    where = json.dumps(last_part(card.folder)).replace("<", "\\u003c")
    head, _, rest = card.kind.use.partition("\n")
    return f"import cnas  # lets transformers know the model\n{head}\n\nfolder = {where}\n{rest.lstrip(chr(10))}"


def _lines(text: str) -> str:
    """Several lines, each without characters that print nothing; indentation stays."""
    return "\n".join("".join(c if c.isprintable() else " " for c in line).rstrip() for line in text.split("\n"))
