"""The flags of a run: those of all sections of a `RunConfig`, and the other ways to write them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from cnas.errors import UserError
from cnas.fields import flag_names
from cnas.runs.config import RunConfig
from cnas.runs.flags import OneLineParser, add_flags, apply_flags
from cnas.training.arguments import LEFT_OUT

_WITHOUT_PREFIX = {"trainer": "", "text": "data.", "images": "data."}
"""How else the flags of a section may be written: `--num-train-epochs`, `--data.vocab-size`."""


def add_run_flags(config: RunConfig, parser: OneLineParser, without: Sequence[str] = ()) -> None:
    """One flag per field, with the current value as default; those of the run as a whole need no prefix.

    Args:
        config: whose values are the defaults.
        parser: gets them.
        without: sections whose flags are left out.
    """
    for name, why in LEFT_OUT.items():
        parser.refuse(name, why)
    add_flags(parser, config.source, title="run")
    parser.add_argument("--mixed-precision", choices=("no", "bf16", "fp16"), help="the same as --bf16 or --fp16")
    for prefix, part in config.sections().items():
        if prefix in without:
            continue
        add_flags(parser, part, prefix)
        if prefix in _WITHOUT_PREFIX:
            names = dict(getattr(part, "renamed", {})) | {name: name for name in flag_names(type(part))}
            for other, name in names.items():
                parser.rename(_WITHOUT_PREFIX[prefix] + other, f"{prefix}.{name}")


def with_run_flags(config: RunConfig, given: argparse.Namespace) -> RunConfig:
    """The configuration with the given flags applied.

    Args:
        config: that is changed.
        given: what the parser found.

    Raises:
        UserError: a value is not allowed.
    """
    changed: dict[str, Any] = vars(apply_flags(config.source, given))
    for prefix, part in config.sections().items():
        try:
            changed[prefix] = apply_flags(part, given, prefix)
        except ValueError as problem:
            message = str(problem)
            dotted = message if message.startswith(("--", f"{prefix}.")) else f"{prefix}.{message}"
            raise UserError(dotted) from problem
    if given.mixed_precision is not None:
        precisions = {name: given.mixed_precision == name for name in ("bf16", "fp16")}
        changed["trainer"] = replace(changed["trainer"], **precisions)
    return replace(config, **changed)
