"""Data as ordered batches: text and the streams a language model reads it in; labelled images and their views."""

from cnas.data.base import OrderedBatches, process_rows
from cnas.data.chunks import PackedChunks
from cnas.data.image_batches import Augment, ImageBatches
from cnas.data.image_set import ChannelStatistics, ImageSet
from cnas.data.images import ImageConfig, ImageData, load_images
from cnas.data.streams import TextStreams, VariableStreams, halving_lengths, scattered_lengths
from cnas.data.text import TextConfig, TextData, load_text
from cnas.data.tokenizers import FastCodec, TokenCodec
from cnas.data.vocabulary import Vocabulary

__all__ = [
    "Augment",
    "ChannelStatistics",
    "FastCodec",
    "ImageBatches",
    "ImageConfig",
    "ImageData",
    "ImageSet",
    "OrderedBatches",
    "PackedChunks",
    "TextConfig",
    "TextData",
    "TextStreams",
    "TokenCodec",
    "VariableStreams",
    "Vocabulary",
    "halving_lengths",
    "load_images",
    "load_text",
    "process_rows",
    "scattered_lengths",
]
