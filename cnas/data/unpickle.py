"""Read the pickles of third parties without executing code in them.

A pickle is a small program: it may call whatever it can name. Here it can name what `NAMES` lists and nothing else.
Python's own reader of pickles does one operation after the other, and each is looked at before it is done:

- there are at most `OPERATIONS`, since each may make an object, and none that data have no need of;
- calls get at most twice as many bytes as the file has, however often a pickle passes the same ones, since they copy;
- an array of NumPy gets nothing but numbers, since NumPy itself trusts what a pickle says of its data types;
- keys are plain values or short tuples of them, since hashing takes the stack and the time of all that is within.

Sizes that a pickle claims cost nothing: no more is read than there is.
"""

from __future__ import annotations

import io
import pickle
import re
from typing import IO, Any

import numpy as np

from cnas.errors import UserError

LARGEST = 16 << 20
"""Bytes of a data pickle, unless its reader knows of larger ones; compressed files may unfold into any number."""
OPERATIONS = 200_000
"""Most operations of a data file; the largest of ImageNet16 has some 130,000."""

_NUMBERS = re.compile(r"[<>=|]?(?:b1|\?|[iu](?:1|2|4|8)|f(?:2|4|8))")
"""What a pickle calls a type of booleans, whole numbers or floating ones."""


def _require(holds: object, problem: str) -> None:
    if not holds:
        raise UserError(problem)


def _kind(name: object, *_: object) -> np.dtype[Any]:
    """A data type of its own, since the pickle may set its byte order."""
    # NumPy reads longer names as descriptions, for which it parses Python.
    _require(_NUMBERS.fullmatch(str(name)), f"an array of {str(name)[:40]!r} is not opened; allowed are plain numbers")
    return np.dtype(str(name), copy=True)


def _numbers(kind: object, data: object, shape: Any = -1, order: Any = "C") -> Any:
    """The numbers in bytes, where they lie: never those of an array, which a pickle could exchange under it."""
    _require(isinstance(kind, np.dtype) and isinstance(data, bytes), "an array is not opened that is not plain numbers")
    return np.frombuffer(data, kind).reshape(shape, order=order)  # type: ignore[call-overload]


def _as_bytes(text: str, encoding: str) -> bytes:
    """Bytes as pickles of protocol 2 and older have them."""
    _require(encoding in ("latin1", "latin-1"), f"text in {str(encoding)[:20]!r} is not opened; allowed is latin1")
    return text.encode("latin1")


NAMES = {
    "collections.OrderedDict": lambda: {},
    "_codecs.encode": _as_bytes,
    "__builtin__.bytes": lambda: b"",
    "numpy.dtype": _kind,
    "numpy.ndarray": lambda: None,
    "numpy.core.multiarray.scalar": lambda kind, data: _numbers(kind, data)[0].item(),
    "numpy.core.multiarray._reconstruct": lambda *_: np.ndarray((0,)),
    "numpy.core.numeric._frombuffer": lambda data, kind, *form: _numbers(kind, data, *form),
}
"""What a pickle may name, and the function it gets; plain Python values need no name."""

_REDUCE, _BUILD, _SETITEM, _SETITEMS, _DICT, _ADDITEMS, _BINBYTES8, _BYTEARRAY8 = b"Rbsud\x90\x8e\x96"
_KEYS = {_SETITEM: slice(-2, -1), _SETITEMS: slice(0, None, 2), _DICT: slice(0, None, 2), _ADDITEMS: slice(None)}
"""By operation, which of the values on the stack it hashes."""
_READER: Any = pickle._Unpickler
# Data need no objects of classes, no numbers of many kilobytes, and nothing that is not in the file.
_OPERATIONS = {code: do for code, do in _READER.dispatch.items() if code not in b"io\x81\x82\x83\x84\x8b\x91\x92"}
# Bytes that may change are made in the size that is claimed before any are read; the other ones are read.
_OPERATIONS[_BYTEARRAY8] = _OPERATIONS[_BINBYTES8]


class _Unpickler(_READER):
    """Python's own reader, which looks up each operation here; the one in C asks nobody."""

    def __init__(self, data: bytes, encoding: str) -> None:
        super().__init__(io.BytesIO(data), encoding=encoding)
        self.dispatch = self
        self.operations, self.room = OPERATIONS, 2 * len(data)

    def find_class(self, module: str, name: str) -> Any:
        called = f"{module}.{name}".replace("numpy._core.", "numpy.core.")
        _require(called in NAMES, f"it asks for {ascii(called)[1:-1][:80]}, which is not allowed in a data file")
        return NAMES[called]

    def __getitem__(self, code: int) -> Any:
        """What an operation does, if it may be done to what is on the stack."""
        self.operations -= 1
        _require(self.operations >= 0, f"it has more than {OPERATIONS:,} operations")
        if code in (_BUILD, _SETITEM, _SETITEMS):
            target = self.metastack[-1][-1] if code == _SETITEMS else self.stack[-2 - (code == _SETITEM)]
            fills = isinstance(target, (np.dtype, np.ndarray) if code == _BUILD else dict)
            _require(fills, "it wants to alter a function or a value, which is not allowed in a data file")
        if code in (_REDUCE, _BUILD):
            self._check_given(*self.stack[-2:])
        for parts in (key if isinstance(key, tuple) else (key,) for key in self.stack[_KEYS.get(code, slice(0))]):
            plain = all(isinstance(each, str | bytes | int | float | None) for each in parts) and len(parts) < 10
            _require(plain, "it has a key that is neither a plain value nor a short tuple of them")
        return _OPERATIONS[code]

    def _check_given(self, target: object, given: Any) -> None:
        """See what a function is called with, or what becomes the state of a value."""
        self.room -= sum(len(each) for each in tuple(given) if isinstance(each, str | bytes))
        _require(isinstance(given, tuple) and self.room >= 0, "its calls are given more bytes than it has, or no tuple")
        if isinstance(target, np.dtype):
            # (version, byte order, sub-array, names, fields, size, alignment, flags)
            plain = given[1] in ("<", ">", "|", "=") and given[2:] == (None, None, None, -1, -1, 0)
            _require(plain, "an array is not opened whose type is more than plain numbers")


def safe_load(file: IO[bytes], where: str, encoding: str = "ASCII", largest: int = LARGEST) -> Any:
    """Open a pickle if it is made of plain values; nothing of it is run.

    Args:
        file: open for reading, in binary.
        where: what to call the file in a message.
        encoding: of the strings of Python 2; ``"latin1"`` where arrays of Python 2 are read, ``"bytes"`` keeps bytes.
        largest: bytes the pickle may have.

    Returns:
        Python's own dicts, lists, tuples, texts, bytes and numbers, and arrays of numbers, which may be read-only.

    Raises:
        UserError: it is no pickle, is too large, or asks for anything else; nothing of it has been run then.
        OSError, EOFError: ``file`` cannot be read.

    Example:
        >>> import io
        >>> safe_load(io.BytesIO(pickle.dumps({"accuracy": [54.3]})), "table")
        {'accuracy': [54.3]}
        >>> safe_load(io.BytesIO(pickle.dumps(print)), "table")
        Traceback (most recent call last):
        cnas.errors.UserError: table was not opened: it asks for builtins.print, which is not allowed in a data file
    """
    data = file.read(largest + 1)
    _require(len(data) <= largest, f"{where} was not opened: it has more than {largest >> 20} MiB")
    try:
        return _Unpickler(data, encoding).load()
    except UserError as problem:
        raise UserError(f"{where} was not opened: {problem}") from problem
    except Exception as problem:  # bytes that are no pickle may raise anything
        reason = " ".join(str(problem).split())[:80] or type(problem).__name__
        raise UserError(f"{where} is no whole pickle of plain values: {reason}") from problem
