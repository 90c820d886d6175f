"""Damage to files that somebody else may have written: what is in them, and the bytes themselves."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

DEEP = "[" * 20_000 + "]" * 20_000
HOSTILE: list[Any] = [
    None,
    True,
    0,
    -1,
    2.5,
    10**400,
    float("nan"),
    float("inf"),
    1e308,
    "",
    "word",
    "../../escape",
    "/etc/passwd",
    "a\nb\x00\x1b[31m",
    "\ud800",
    "x" * 5000,
    [],
    [[]],
    [1, "2", None],
    {},
    {"name": []},
    {"": {}},
]
"""What nobody expects in the place of something else."""


def damaged_json(value: Any, draws: random.Random) -> Any:
    """A copy of ``value`` in which up to three entries are replaced, removed or doubled."""
    value = copy.deepcopy(value)
    for _ in range(draws.randint(1, 3)):
        places = list(_places(value))
        if not places:
            return copy.deepcopy(draws.choice(HOSTILE))
        holder, key = draws.choice(places)
        match draws.randrange(6):
            case 0:
                del holder[key]
            case 1 if isinstance(holder, dict):
                holder[f"{key} too"] = holder[key]
            case 2:
                other, there = draws.choice(places)
                holder[key] = copy.deepcopy(other[there]) if _is_there(other, there) else None
            case _:
                holder[key] = copy.deepcopy(draws.choice(HOSTILE))
    return value


def _is_there(holder: Any, key: Any) -> bool:
    return key in holder if isinstance(holder, dict) else key < len(holder)


def _places(value: Any) -> Any:
    """Every (container, key) of a tree."""
    keys: Any = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from _places(value[key])


def damaged_bytes(data: bytes, draws: random.Random) -> bytes:
    """``data`` with a stretch of it flipped, cut out, doubled or replaced."""
    start = draws.randrange(len(data) + 1)
    end = min(len(data), start + draws.choice((1, 1, 4, 64)))
    head, stretch, rest = data[:start], data[start:end], data[end:]
    found = (
        head,
        head + rest,
        head + stretch + stretch + rest,
        head + draws.randbytes(len(stretch)) + rest,
        head + draws.choice((b"\xff\xfe", b"\x00", b"{", b"]", b"\n", b'"', b"-")) + stretch + rest,
        head + bytes(byte ^ 1 << draws.randrange(8) for byte in stretch) + rest,
        draws.choice((b"", b"null", b"[]", b"3", b'"text"', DEEP.encode(), b"\xef\xbb\xbf{}", b"NaN")),
    )
    return draws.choice(found)


def damage_file(path: Path, draws: random.Random) -> str:
    """Damage one file in place; what was done, for a message."""
    text = path.read_bytes()
    if path.suffix == ".json" and draws.random() < 0.7:
        path.write_text(json.dumps(damaged_json(json.loads(text), draws)), "utf-8", "surrogatepass")
        return f"values of {path.name}"
    if path.suffix == ".jsonl" and draws.random() < 0.7:
        rows = [json.loads(line) for line in text.splitlines()]
        rows = damaged_json(rows, draws)
        lines = rows if isinstance(rows, list) else [rows]
        path.write_text("".join(f"{json.dumps(row)}\n" for row in lines), "utf-8", "surrogatepass")
        return f"values of {path.name}"
    if draws.random() < 0.03:
        path.unlink()
        path.mkdir()
        return f"{path.name} is a folder"
    path.write_bytes(damaged_bytes(text, draws))
    return f"bytes of {path.name}"
