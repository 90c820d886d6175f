"""The model card: what was searched, how well the found model does, and how to use it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cnas.curricula import CURRICULUM_NAS, known_class
from cnas.errors import UserError
from cnas.hub._markdown import fill, last_part, one_line
from cnas.hub.card_rows import benchmark_rows, benchmark_spreads, flat, procedure, settings, spread, trouble
from cnas.hub.metadata import front_matter, known_data, measured
from cnas.hub.model_kind import LANGUAGE_MODEL, ModelKind
from cnas.runs.measures import WORD_PERPLEXITY
from cnas.runs.result import RunResult
from cnas.types import Paper

_ALIKE = ("dataset", "space", "algorithm", "curriculum")
"""What runs that differ in the seed alone have in common."""
_LICENCE = re.compile(r"[a-z0-9][a-z0-9.-]*", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Card:
    """All that a card is made of; strings are taken for what they are, see `render_card`.

    Args:
        result: of the run; parts that are missing are left out.
        model_name: the title.
        drawing: the cell, as `draw_cell` draws it.
        pictures: what `save_pictures` returned: by the name of each picture its words, for those who do not see it.
        sizes: rows of a table of sizes, the headings first; empty where a cell was searched.
        setting: of what milliseconds among them are; empty where there are none.
        kind: of the model.
        config: the contents of ``config.json``, for the table of settings; never shown is where the data lies.
        others: of runs that differ in the seed alone; results then have a mean and a spread.
        samples: lines the model generated.
        papers: what to cite for a part of the run, beside the papers of the curriculum, the data and ``kind``.
        folder: where the model lies as seen from the card, or its id on the Hub.
        licence: the Hub's identifier of the licence of the weights, e.g. ``cc-by-4.0``; empty where none was chosen.

    Raises:
        UserError: one of ``others`` has the same seed as another run, or differs in more than the seed; ``licence`` is
            no identifier.
    """

    result: RunResult
    model_name: str
    drawing: str
    pictures: Mapping[str, str] = field(default_factory=dict)
    sizes: Sequence[Sequence[str]] = ()
    setting: str = ""
    kind: ModelKind = LANGUAGE_MODEL
    config: Mapping[str, Any] = field(default_factory=dict)
    others: Sequence[RunResult] = ()
    samples: Sequence[str] = ()
    papers: Mapping[str, Paper | None] = field(default_factory=dict)
    folder: str = "model"
    licence: str = ""

    def __post_init__(self) -> None:
        if self.licence and not _LICENCE.fullmatch(self.licence):
            raise UserError(f"license must be an identifier of the Hub such as apache-2.0, got {self.licence[:40]!r}")
        for index, run in enumerate(self.others, 1):
            if run.seed in [earlier.seed for earlier in self.runs[:index]]:
                raise UserError(f"others must differ in their seed, got seed {run.seed!r} twice")
            for name, mine, theirs in zip(_ALIKE, _kin(self.result), _kin(run), strict=True):
                if mine != theirs:
                    raise UserError(f"others must differ in the seed alone, got {name} {theirs!r} beside {mine!r}")

    @property
    def runs(self) -> list[RunResult]:
        """The results of all seeds, this model's first."""
        return [self.result, *self.others]

    @property
    def dataset(self) -> str:
        """The name of the data, without folders."""
        return last_part(self.result.dataset.name)


def render_card(card: Card, template: str = "model_card.md.jinja") -> str:
    """The text of a model's ``README.md``: YAML front matter, then Markdown.

    Strings are taken for what they are: none can add a field to the front matter, mark up the text around it, or show
    a folder of the machine the run was on.

    Args:
        card: all that it is made of.
        template: the file that is filled in.

    Example:
        >>> result = RunResult.from_json({
        ...     "seed": 1, "space": "enas_rnn", "architecture": {"string": "0 0"},
        ...     "dataset": {"name": "novel", "fingerprint": "6112987de8310395"}, "retrain": {"test_perplexity": 94.2},
        ... })
        >>> text = render_card(Card(result=result, model_name="first", drawing="node 1 = tanh(input)"))
        >>> "| novel | test | perplexity (per word) | 94.20 |" in text
        True
    """
    return fill("cnas.hub", template, **_facts(card))


def _facts(card: Card) -> dict[str, Any]:
    result = card.result
    curriculum = CURRICULUM_NAS if result.curriculum else None
    kind = known_class(result.curriculum.name) if result.curriculum else None
    weights = kind.paper if kind and kind.paper != curriculum else None
    data = known_data(card.dataset)
    method = [("Curriculum", curriculum), ("Weights of the data", weights)]
    found = citations([*method, *card.papers.items(), *card.kind.papers.items(), ("Data", data.paper)])
    return {
        "card": card,
        "result": result,
        "front_matter": front_matter(result, card.kind, card.model_name, card.licence),
        "algorithm": last_part(result.algorithm or "unnamed"),
        "hub_id": data.hub_id,
        "drawing": _lines(card.drawing),
        "snippet": _snippet(card),
        "results": _results(card),
        "seeds": [run.seed for run in card.runs],
        "benchmark": benchmark_rows(result),
        "benchmark_spread": benchmark_spreads(card.runs) if card.others else {},
        "procedure": procedure(result),
        "trouble": trouble(result),
        "settings": settings(card.config),
        "environment": flat(result.environment),
        "citations": found,
        "web_address": web_address,
        "bibtex": "\n\n".join(map(bibtex, found)),
    }


def _kin(result: RunResult) -> list[Any]:
    curriculum = result.curriculum and result.curriculum.to_json()
    return [result.dataset.fingerprint, result.space, result.algorithm, curriculum]


def _results(card: Card) -> list[dict[str, str]]:
    """A row for each split; the mean is that of all seeds, and empty where one alone was measured."""
    rows = []
    found_by = [(metric, measured(card.result, metric)) for metric in (card.kind.metric, WORD_PERPLEXITY)]
    for metric, split, value in ((metric, *each) for metric, found in found_by for each in found.items()):
        part = card.result.dataset.first_part(split)
        values = [found[split] for run in card.runs if split in (found := measured(run, metric))]
        rows.append(
            {
                "split": f"{split} (the first {part[0]:,} of {part[1]:,})" if part else split,
                "measure": f"{metric.name} ({metric.unit})",
                "value": f"{value:.2f}",
                "mean": f"{spread(values)} (n = {len(values)})" if len(values) > 1 else "",
            }
        )
    return rows


def _snippet(card: Card) -> str:
    # JSON's escapes are Python's too; `<` is escaped so that no reader of the card takes it for HTML.
    where = json.dumps(last_part(card.folder)).replace("<", "\\u003c")
    head, _, rest = card.kind.use.partition("\n")
    known = "" if card.kind.stock else "import cnas  # lets transformers know the model\n"
    return f"{known}{head}\n\nfolder = {where}\n{rest.lstrip(chr(10))}"


def _lines(text: str) -> str:
    """Several lines, each without characters that print nothing; indentation stays."""
    return "\n".join("".join(c if c.isprintable() else " " for c in line).rstrip() for line in text.split("\n"))


def citations(parts: Iterable[tuple[str, Paper | None]]) -> dict[Paper, str]:
    """By paper, in the order in which they come first, what it is behind.

    Args:
        parts: what each paper is behind; None where there is no paper.

    Example:
        >>> paper = Paper("A search", "Ada Lovelace", 1843, "https://example.org")
        >>> [*citations([("Search", paper), ("Data", None), ("Space", paper)]).values()]
        ['Search; space']
    """
    found: dict[Paper, str] = {}
    for part, paper in parts:
        if paper is not None:
            found[paper] = f"{found[paper]}; {part[:1].lower()}{part[1:]}" if paper in found else part
    return found


def web_address(url: str) -> str:
    """A web address fit for ``<...>``; empty where the text is none."""
    url = re.sub(r"[<>\\\s]", "", one_line(url))
    return url if re.match(r"https?://", url) else ""


def bibtex(paper: Paper) -> str:
    """A BibTeX entry; a brace that would end one of its fields is left out."""
    first = paper.authors.split(",")[0].split()
    family = re.sub(r"\W", "", first[-1].lower()) if first else "unknown"
    word = re.sub(r"\W.*", "", one_line(paper.title).lower())
    fields = {"title": paper.title, "author": " and ".join(paper.authors.split(", ")), "year": paper.year}
    lines = [
        f"  {key} = {{{re.sub('[{}]', '', one_line(value))}}}," for key, value in {**fields, "url": paper.url}.items()
    ]
    return "\n".join([f"@misc{{{family}{paper.year}{word},", *lines, "}"])
