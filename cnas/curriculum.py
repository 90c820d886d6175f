"""The name of `cnas.curricula` in 0.1.0, for scripts that import the two functions of the paper from here."""

from cnas.curricula import normalized_weights, uncertainty

__all__ = ["normalized_weights", "uncertainty"]
