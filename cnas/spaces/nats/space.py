"""The topology space of NATS-Bench: one cell, repeated, in which each of six edges takes one of five operations.

A cell is written in the notation of NATS-Bench: for every node after the input the operations it reads its
predecessors through, each with the number of the node that is read:

    |nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|

Legend: C cells, E edges, O operations.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Literal

from cnas.errors import UserError
from cnas.spaces.base import Decision, SearchSpace
from cnas.spaces.nats.modeling import CnasNatsConfig, CnasNatsForImageClassification
from cnas.spaces.nats.supernet import NatsSuperNet
from cnas.spaces.nats.topology import EDGES, OPERATIONS, is_connected
from cnas.types import Architecture, Choice, Paper

MAX_TEXT = 256
"""Longest notation that is parsed; the longest that means something has 113 characters."""

EXAMPLE = "|op~0|+|op~0|op~1|+|op~0|op~1|op~2|"


@dataclass(frozen=True, kw_only=True)
class NatsNetworkSizes:
    """Sizes of a stand-alone classifier; the defaults are those the benchmark trained.

    Raises:
        ValueError: naming the field, its value and what is allowed.
    """

    channels: int = 16
    """Channels of the first stage; the second has twice, the third four times as many."""
    cells: int = 5
    """Cells in each of the three stages."""

    def __post_init__(self) -> None:
        for name in (field.name for field in fields(self)):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class NatsSpace(NatsNetworkSizes, SearchSpace):
    """The 15,625 image classifiers of NATS-Bench's topology search space (Dong et al. 2021, section 3.1).

    The sizes are those of the published supernet and of its stand-alone networks alike.

    Raises:
        ValueError: naming the field, its value and what is allowed.

    Example:
        >>> space = NatsSpace()
        >>> text = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|"
        >>> space.size, space.shape, space.parse(text).choices
        (15625, (6, 5), ((0, 3), (1, 0), (2, 1), (3, 4), (4, 0), (5, 2)))
    """

    name: ClassVar[str] = "nats"
    data_section: ClassVar[Literal["text", "images"]] = "images"
    published: ClassVar[str | None] = "nats_cl/paper"
    own_data: ClassVar[str | None] = "nats_cl/own"
    network_sizes: ClassVar[type[Any]] = NatsNetworkSizes
    batch_statistics: ClassVar[bool] = True
    operations = OPERATIONS
    paper: ClassVar[Paper | None] = Paper(
        title="NATS-Bench: Benchmarking NAS Algorithms for Architecture Topology and Size",
        authors="Xuanyi Dong, Lu Liu, Katarzyna Musial, Bogdan Gabrys",
        year=2021,
        url="https://arxiv.org/abs/2009.00437",
    )

    classes: int = 10
    """Number of labels; a run takes it from its data."""
    image_channels: int = 3
    """Channels of an image; a run takes it from its data."""

    @property
    def routed_cells(self) -> int:
        """How many cells a routing may treat separately: those of all three stages."""
        return 3 * self.cells

    def decisions(self) -> tuple[Decision, ...]:
        """One decision per edge, each among all operations."""
        every = tuple(range(len(OPERATIONS)))
        return tuple(Decision(target, (edge,), (source,), every) for edge, (target, source) in enumerate(EDGES))

    def is_connected(self, architecture: Architecture) -> bool:
        """Whether some path from input to output has no ``none`` on it; false for 341 of the architectures."""
        return is_connected([operation for _, operation in architecture.choices])

    def build_supernet(self) -> NatsSuperNet:
        """A freshly initialised supernet; 1,692,698 parameters at the published sizes and 10 classes."""
        return NatsSuperNet(self.channels, self.cells, self.classes, self.image_channels)

    def build_network(self, architecture: Architecture, **sizes: Any) -> CnasNatsForImageClassification:
        """The stand-alone classifier of ``architecture``; ``sizes`` are fields of this class."""
        checked = replace(self, **sizes)
        config = CnasNatsConfig(
            operations=[OPERATIONS[operation] for _, operation in architecture.choices],
            channels=checked.channels,
            cells=checked.cells,
            image_channels=checked.image_channels,
            num_labels=checked.classes,
        )
        return CnasNatsForImageClassification(config)

    def to_str(self, choices: Sequence[Choice]) -> str:
        """The notation of NATS-Bench, ``|op~0|+|op~0|op~1|+|op~0|op~1|op~2|``."""
        return write([operation for _, operation in choices])

    def parse(self, text: str) -> Architecture:
        """The architecture that a string in the notation of NATS-Bench describes.

        Raises:
            UserError: telling the character at which the text departs from the notation, and what is allowed there.
        """
        return self.architecture(list(enumerate(read(text))))


def write(operations: Sequence[int]) -> str:
    """The notation of one operation per edge, given as indices into `OPERATIONS`.

    Example:
        >>> write([3, 0, 1, 4, 0, 2])
        '|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|'
    """
    return "".join(f"{_before(edge)}{OPERATIONS[pick]}{_after(edge)}" for edge, pick in enumerate(operations))


def read(text: str) -> list[int]:
    """The inverse of `write`.

    Raises:
        UserError: where the text departs from the notation, telling the character, counted from 1, and what is allowed.
    """
    if len(text) > MAX_TEXT:
        raise UserError(
            f"architecture {_show(text)} must have the form {EXAMPLE}, at most {MAX_TEXT} characters, got {len(text)}"
        )
    position, operations = 0, []
    for edge in range(len(EDGES)):
        position = _literal(text, position, _before(edge))
        word = re.compile("[0-9A-Za-z_]*").match(text, position)
        assert word is not None
        if word[0] not in OPERATIONS:
            _refuse(text, position, f"one of {', '.join(OPERATIONS)}")
        operations.append(OPERATIONS.index(word[0]))
        position = _literal(text, word.end(), _after(edge))
    if position < len(text):
        _refuse(text, position, "the end")
    return operations


def _before(edge: int) -> str:
    return "" if EDGES[edge][1] else "|" if edge == 0 else "+|"


def _after(edge: int) -> str:
    return f"~{EDGES[edge][1]}|"


def _literal(text: str, position: int, expected: str) -> int:
    """The position after ``expected``, which must be the text at ``position``."""
    if not text.startswith(expected, position):
        _refuse(text, position, repr(expected))
    return position + len(expected)


def _refuse(text: str, position: int, allowed: str) -> None:
    found = repr(text[position : position + 16]) if position < len(text) else "nothing"
    raise UserError(f"architecture {_show(text)}: character {position + 1} must be {allowed}, got {found}")


def _show(text: str) -> str:
    return repr(text[:60])
