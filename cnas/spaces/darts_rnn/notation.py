"""How a DARTS cell is written: as words, and as the authors' code prints it.

    relu 0 relu 1 tanh 2
    Genotype(recurrent=[('relu', 0), ('relu', 1), ('tanh', 2)], concat=range(1, 4))

Nothing is evaluated.
"""

from __future__ import annotations

import re

from cnas.errors import UserError

MAX_TEXT = 4096
"""Longest notation that is looked at; real ones have a few hundred characters."""

# Blanks are taken out before, so that no pattern can match one text in two ways.
_NUMBER = r"[0-9]{1,6}"
_PAIR = rf"\((?:'\w{{1,32}}'|\"\w{{1,32}}\"),{_NUMBER}\)"
_CONCAT = rf"(?:range\(({_NUMBER}),({_NUMBER})\)|\[((?:{_NUMBER}(?:,{_NUMBER})*,?)?)\])"
_GENOTYPE = re.compile(rf"Genotype\(recurrent=\[((?:{_PAIR},?)*)\],concat={_CONCAT}\)")

Pairs = list[tuple[str, int]]
"""(operation, predecessor) of every node."""


def show(text: str) -> str:
    """The beginning of a notation, for messages."""
    return repr(text[:60])


def read(text: str, nodes: int) -> tuple[Pairs, tuple[int, ...] | None]:
    """The pairs of a notation, and the nodes it averages; None where it does not say.

    Only the form is checked: that there are ``nodes`` pairs of a name and a number.

    Raises:
        UserError: telling the form.
    """
    pairs, concat = (_genotype(text) or (_words(text), None)) if len(text) <= MAX_TEXT else (None, None)
    if pairs is None or len(pairs) != nodes:
        raise UserError(
            f"architecture {show(text)} must be {nodes} pairs 'operation predecessor', e.g. 'tanh 0 relu 1 …', or "
            f"Genotype(recurrent=[('tanh', 0), ('relu', 1), …], concat=…)"
        )
    return pairs, concat


def _words(text: str) -> Pairs | None:
    words = text.split()
    names, numbers = words[::2], words[1::2]
    if len(names) != len(numbers) or not all(re.fullmatch(_NUMBER, number) for number in numbers):
        return None
    return list(zip(names, map(int, numbers), strict=True))


def _genotype(text: str) -> tuple[Pairs, tuple[int, ...]] | None:
    match = _GENOTYPE.fullmatch("".join(text.split()))
    if match is None:
        return None
    inner, start, stop, listed = match.groups()
    pairs = [(name, int(number)) for name, number in re.findall(r"(\w+)['\"],([0-9]+)", inner)]
    if listed is not None:
        return pairs, tuple(int(number) for number in listed.split(",") if number)
    return pairs, tuple(range(int(start), min(int(stop), int(start) + MAX_TEXT)))
