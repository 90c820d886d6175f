"""What a person reads while a run goes on: one line an epoch."""

from __future__ import annotations

from typing import Any

from cnas.metrics import perplexity


def describe(row: dict[str, Any], epochs: int) -> str:
    """One line of progress for a person.

    Example:
        >>> describe({"phase": "search", "epoch": 1, "train_loss": 0.0, "valid_perplexity": 2.5}, 3)
        'search 1/3  train perplexity 1.0  valid perplexity 2.5'
    """
    words = [f"{row['phase']} {row['epoch']}/{epochs}"]
    if "valid_accuracy" in row:
        words += [f"train loss {row['train_loss']:.3f}", f"valid accuracy {row['valid_accuracy']:.2f} %"]
    else:
        words.append(f"train perplexity {_shown(perplexity(row['train_loss']))}")
    if "valid_perplexity" in row:
        words.append(f"valid perplexity {_shown(row['valid_perplexity'])}")
    if "weight_min" in row:
        words.append(f"v {row['weight_min']:.2f} to {row['weight_max']:.2f}")
    if "reward" in row:
        words.append(f"reward {row['reward']:.3f}")
    if "epoch_seconds" in row:
        words.append(f"{row['epoch_seconds']:.0f} s")
    return "  ".join(words)


def _shown(perplexity: float) -> str:
    return f"{perplexity:.1f}" if perplexity < 1e6 else "above 1e6"
