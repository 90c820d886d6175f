"""Pickles of others, opened without running anything of theirs.

A pickle is a small program: it may call whatever it can name. Here it can name what `PLAIN` or a caller's own table
lists and nothing else, and numbers and arrays of NumPy are put together by functions of this module, since NumPy itself
trusts what a pickle says of its data types. What would exhaust memory or stack is refused before it is begun with.
"""

from __future__ import annotations

import io
import pickle
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import IO, Any

import numpy as np

from cnas.data.pickle_scan import check_pickle
from cnas.errors import UserError

Names = Mapping[tuple[str, str], Callable[..., Any]]
"""What a pickle calls a thing, as (module, name), and what it gets for it."""

_BROKEN = (
    AttributeError,
    EOFError,
    ImportError,
    IndexError,
    KeyError,
    MemoryError,
    OverflowError,
    RecursionError,
    TypeError,
    UnicodeError,
    ValueError,
    pickle.UnpicklingError,
)
"""What unpickling raises where the bytes are no pickle, or where one calls things wrongly."""


_NUMBERS = re.compile(r"[<>=|]?(?:b1|\?|[iu](?:1|2|4|8)|f(?:2|4|8))")
"""What a pickle calls a type of booleans, whole numbers or floating ones."""


class _Kind:
    """A data type of plain numbers; what else a pickle says of it has to be what such a type says."""

    def __init__(self, name: str, align: bool = False, copy: bool = True) -> None:
        del align, copy  # a plain number has neither parts to align nor a description to copy
        # NumPy reads longer names as descriptions, for which it parses Python.
        if not _NUMBERS.fullmatch(str(name)):
            raise UserError(f"an array of {str(name)[:40]!r} is not opened; allowed are plain numbers")
        self.dtype = np.dtype(str(name))

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        # (version, byte order, sub-array, names, fields, size, alignment, flags)
        order, rest = state[1], state[2:]
        if order not in ("<", ">", "|", "=") or rest != (None, None, None, -1, -1, 0):
            raise UserError("an array is not opened whose type is more than plain numbers")
        self.dtype = self.dtype.newbyteorder(order)


class _Array(np.ndarray[Any, Any]):
    """An array that takes its bytes only together with a checked type."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, fortran, data = state
        if isinstance(data, str):  # bytes of Python 2, which are text under latin1
            data = data.encode("latin1")
        if not isinstance(kind, _Kind) or not isinstance(data, bytes):
            raise UserError("an array is not opened that is more than plain numbers")
        # NumPy's stubs want a boolean of NumPy, which NumPy itself refuses.
        checked: Any = (1, shape, kind.dtype, bool(fortran), data)
        super().__setstate__(checked)


def _empty_array(*given: object) -> _Array:
    """What a pickle begins an array with; size and type come with its bytes."""
    del given
    return _Array((0,))


def _whole_array(data: bytes, kind: _Kind, shape: tuple[int, ...], order: str) -> _Array:
    """An array as protocol 5 has it."""
    if order not in ("C", "F"):
        raise UserError(f"an array in order {str(order)[:20]!r} is not opened; allowed are C and F")
    values: _Array = np.frombuffer(data, kind.dtype).reshape(shape, order="F" if order == "F" else "C").view(_Array)
    return values


def _number(kind: _Kind, data: bytes) -> bool | int | float:
    """One number of NumPy as one of Python."""
    found: bool | int | float = np.frombuffer(data, kind.dtype, count=1)[0].item()
    return found


def _as_bytes(text: str, encoding: str) -> bytes:
    """Bytes as pickles of protocol 2 and older have them."""
    if encoding not in ("latin1", "latin-1"):
        raise UserError(f"text in {str(encoding)[:20]!r} is not opened; allowed is latin1")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """Empty bytes as pickles of protocol 2 and older have them."""
    return b""


PLAIN: Names = MappingProxyType(
    {
        ("collections", "OrderedDict"): OrderedDict,
        ("_codecs", "encode"): _as_bytes,
        ("__builtin__", "bytes"): _no_bytes,
        ("numpy", "dtype"): _Kind,
        ("numpy", "ndarray"): _empty_array,
        **{(f"numpy.{core}.multiarray", "scalar"): _number for core in ("core", "_core")},
        **{(f"numpy.{core}.multiarray", "_reconstruct"): _empty_array for core in ("core", "_core")},
        **{(f"numpy.{core}.numeric", "_frombuffer"): _whole_array for core in ("core", "_core")},
    }
)
"""Ordered dicts, and NumPy's numbers and arrays of numbers; plain Python values need no name."""


class _Maker:
    """What a pickle gets for a name: it can be called, and that is all. A class or a function could be altered."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[..., Any]) -> None:
        self._make = make

    def __call__(self, *given: Any) -> Any:
        return self._make(*given)

    def __setstate__(self, state: object) -> None:
        raise UserError("it wants to alter a function, which is not allowed in a data file")


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: IO[bytes], names: Names, encoding: str) -> None:
        super().__init__(file, encoding=encoding)
        self.names = names

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _Maker(self.names[module, name])
        except KeyError:
            raise UserError(f"it asks for {module[:40]}.{name[:40]}, which is not allowed in a data file") from None


LARGEST = 16 << 20
"""Bytes of a data pickle, unless its reader knows of larger ones; compressed files may unfold into any number."""


def safe_load(
    file: IO[bytes], where: str, names: Names = PLAIN, encoding: str = "ASCII", largest: int = LARGEST
) -> Any:
    """What a pickle holds, if it is made of plain values.

    Args:
        file: open for reading, in binary.
        where: what to call the file in a message.
        names: what the pickle may name, and what it gets.
        encoding: of the strings of Python 2; ``"latin1"`` where arrays of Python 2 are read, ``"bytes"`` keeps bytes.
        largest: bytes the pickle may have.

    Returns:
        Python's own containers, texts and numbers, and arrays of numbers.

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
    if len(data) > largest:
        raise UserError(f"{where} was not opened: it has more than {largest >> 20} MiB")
    try:
        check_pickle(data)
        return _Unpickler(io.BytesIO(data), names, encoding).load()
    except UserError as problem:
        raise UserError(f"{where} was not opened: {problem}") from problem
    except _BROKEN as problem:
        raise UserError(f"{where} is no whole pickle of plain values: {_in_short(problem)}") from problem


def _in_short(problem: BaseException) -> str:
    return " ".join(str(problem).split())[:80] or type(problem).__name__
