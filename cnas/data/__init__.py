"""Data as ordered batches: text corpora, their vocabulary, and the streams a language model reads them in."""

from cnas.data.base import OrderedBatches, rank_rows
from cnas.data.streams import TextStreams
from cnas.data.text import TextConfig, TextData, load_text
from cnas.data.variable import VariableStreams, halving_lengths, scattered_lengths
from cnas.data.vocabulary import Vocabulary

__all__ = [
    "OrderedBatches",
    "TextConfig",
    "TextData",
    "TextStreams",
    "VariableStreams",
    "Vocabulary",
    "halving_lengths",
    "load_text",
    "rank_rows",
    "scattered_lengths",
]
