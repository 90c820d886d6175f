"""List the search spaces, algorithms, curricula or presets there are, those of other distributions among them.

cnas list presets
cnas list algorithms
"""

from __future__ import annotations

import argparse
import importlib

KINDS = ("spaces", "algorithms", "curricula", "presets")
"""Parts of `cnas` that know the names of what they offer."""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """What ``cnas list`` takes."""
    parser.add_argument("kind", choices=KINDS, help=f"one of {', '.join(KINDS)}")


def run(given: argparse.Namespace) -> str:
    """The names, one a line."""
    return "\n".join(importlib.import_module(f"cnas.{given.kind}").names())
