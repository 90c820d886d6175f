"""What networks are measured by, and the number that stands for a run."""

from __future__ import annotations

from typing import NamedTuple


class Metric(NamedTuple):
    """What networks are measured by.

    Attributes:
        name: as the Hub calls it; in ``result.json`` it follows ``valid_`` or ``test_``.
        unit: per what, or ``%``.
        higher_is_better: whether more is better.
    """

    name: str
    unit: str
    higher_is_better: bool


PERPLEXITY = Metric("perplexity", "per word", higher_is_better=False)
PER_TOKEN = PERPLEXITY._replace(unit="per token")
"""Of text whose tokens are no words."""
WORD_PERPLEXITY = Metric("word_perplexity", "per word", higher_is_better=False)
"""Of the same text, where a split was used whole."""
ACCURACY = Metric("accuracy", "%", higher_is_better=True)


class Primary(NamedTuple):
    """The number by which a run is compared with others.

    Attributes:
        name: of the metric.
        value: on test data; on validation data where the run has no other.
        higher_is_better: whether more is better.
    """

    name: str
    value: float
    higher_is_better: bool
