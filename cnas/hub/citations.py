"""The papers behind the parts of a run, each named once."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from cnas.hub._markdown import one_line
from cnas.types import Paper

CURRICULUM_NAS = Paper(
    title="Curriculum-NAS: Curriculum Weight-Sharing Neural Architecture Search",
    authors="Yuwei Zhou, Xin Wang, Hong Chen, Xuguang Duan, Chaoyu Guan, Wenwu Zhu",
    year=2022,
    url="https://doi.org/10.1145/3503161.3548271",
)


@dataclass(frozen=True)
class Citation:
    """A paper and what it is behind.

    Args:
        part: e.g. ``Search algorithm``.
        paper: where it was published.
    """

    part: str
    paper: Paper

    @property
    def url(self) -> str:
        """Where to read it, fit for ``<...>``; empty where that is no web address."""
        url = re.sub(r"[<>\\\s]", "", one_line(self.paper.url))
        return url if re.match(r"https?://", url) else ""


def citations(parts: Iterable[tuple[str, Paper | None]]) -> list[Citation]:
    """One entry per paper, in the order in which they come first.

    Args:
        parts: what each paper is behind; None where there is no paper.

    Example:
        >>> paper = Paper("A search", "Ada Lovelace", 1843, "https://example.org")
        >>> [found.part for found in citations([("Search", paper), ("Data", None), ("Space", paper)])]
        ['Search; space']
    """
    found: dict[Paper, list[str]] = {}
    for part, paper in parts:
        if paper is not None:
            found.setdefault(paper, []).append(part)
    return [
        Citation("; ".join([first, *(part[:1].lower() + part[1:] for part in rest)]), paper)
        for paper, (first, *rest) in found.items()
    ]


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
