"""Perplexity per word, as a number and as a metric for the `evaluate` library."""

from __future__ import annotations

import functools
import math
from typing import Any

from cnas.errors import UserError

_DESCRIPTION = (
    "Perplexity per word: exp of the mean negative log-likelihood (natural logarithm) over all words. "
    "Comparable only between models with the same vocabulary on the same text."
)


def perplexity(total_loss: float, tokens: int = 1) -> float:
    """``exp(total_loss / tokens)``; infinite where that is too large for a float.

    Args:
        total_loss: summed negative log-likelihood, natural logarithm.
        tokens: how many words it was summed over; 1 where the loss is a mean already.

    Raises:
        UserError: there is no word.

    Example:
        >>> round(perplexity(6 * math.log(50), 6), 6)
        50.0
    """
    if tokens < 1:
        raise UserError(f"tokens must be at least 1, got {tokens}")
    try:
        return math.exp(total_loss / tokens)
    except OverflowError:
        return math.inf


def __getattr__(name: str) -> Any:
    """Builds ``WordPerplexity`` on first use, so that `evaluate` is needed only by those who use it."""
    if name == "WordPerplexity":
        return _word_perplexity_class()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@functools.cache
def _word_perplexity_class() -> type:
    try:
        import datasets
        import evaluate
    except ModuleNotFoundError as error:
        raise ImportError("WordPerplexity needs the evaluate library: pip install cnas[eval]") from error

    class WordPerplexity(evaluate.Metric):
        """Perplexity per word from per-word losses; works without network.

        ``compute(losses=[...])`` takes one number per word, or one list of numbers per text, and returns
        ``{"word_perplexity": float, "tokens": int}``. How the losses were split into batches makes no difference.
        """

        def _info(self) -> Any:
            number = datasets.Value("float64")
            return evaluate.MetricInfo(
                description=_DESCRIPTION,
                citation="",
                features=[datasets.Features({"losses": kind}) for kind in (number, datasets.List(number))],
            )

        def _compute(self, losses: list[Any]) -> dict[str, float | int]:
            words = [word for item in losses for word in (item if isinstance(item, list) else [item])]
            return {"word_perplexity": perplexity(math.fsum(words), len(words)), "tokens": len(words)}

    return WordPerplexity
