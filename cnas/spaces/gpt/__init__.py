"""Decoder-only transformers of four sizes: width, depth, heads and MLP."""

from cnas.spaces.gpt.space import GptNetworkSizes, GptSpace

__all__ = ["GptNetworkSizes", "GptSpace"]
