"""Write the model of a run as one file for llama.cpp (GGUF, float32).

cnas gguf runs/small                  # runs/small/model.gguf
cnas gguf runs/small small.gguf

It takes a Llama with a byte-level BPE, as the space gpt makes them. `pip install cnas[gguf]` brings the package that
writes the file. Begin a prompt for llama.cpp with a blank: it adds none before the first word, as the tokenizer does.
"""

from __future__ import annotations

import argparse


def add_flags(parser: argparse.ArgumentParser) -> None:
    """What ``cnas gguf`` takes."""
    parser.add_argument("run", metavar="RUN", help="folder of a finished run, or of a model")
    parser.add_argument("out", metavar="OUT.gguf", nargs="?", help="the file to write (default: RUN/model.gguf)")


def run(given: argparse.Namespace) -> str:
    """The path of the file.

    Raises:
        UserError: there is no such model, the package is missing, or the file is there already.
        StorageError: the disk refuses.
    """
    from cnas.hub import write_gguf

    return str(write_gguf(given.run, given.out))
