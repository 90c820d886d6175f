"""What a card may say of well-known data beyond its name: where it is on the Hub, its language, its paper."""

from __future__ import annotations

import re
from dataclasses import dataclass

from cnas.types import Paper

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)
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
    "ptb-text-only/ptb_text_only": KnownData(hub_id="ptb-text-only/ptb_text_only", language="en", paper=_PTB),
    "cifar10": KnownData(hub_id="uoft-cs/cifar10", paper=_CIFAR),
    "uoft-cs/cifar10": KnownData(hub_id="uoft-cs/cifar10", paper=_CIFAR),
    "cifar100": KnownData(hub_id="uoft-cs/cifar100", paper=_CIFAR),
    "uoft-cs/cifar100": KnownData(hub_id="uoft-cs/cifar100", paper=_CIFAR),
    "digits": KnownData(paper=_DIGITS),
}


def known_data(name: str) -> KnownData:
    """What is known of a data set by the name that results give it; of others, their id where it looks like one.

    Example:
        >>> known_data("ptb_text_only").hub_id, known_data("ada/poems").hub_id, known_data("poems").hub_id
        ('ptb-text-only/ptb_text_only', 'ada/poems', None)
    """
    return _KNOWN.get(name) or KnownData(hub_id=name if _HUB_ID.fullmatch(name) else None)
