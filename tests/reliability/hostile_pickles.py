"""Pickles that would do something if they were opened by `pickle` itself, each in a way of its own."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable
from pathlib import Path


def corpus(canary: Path) -> dict[str, bytes]:
    """By name, pickles that make the file ``canary``, or call what they should not."""
    shell = f"touch {canary}"
    python = f"open({str(canary)!r}, 'w').close()"
    calls = {name: called(module, function, text) for name, module, function, text in _calls(shell, python)}
    return calls | _by_hand(shell, python) | {"in a dict": _nested(shell), "by its class": _by_class(shell)}


def _calls(shell: str, python: str) -> list[tuple[str, str, str, str]]:
    return [
        ("os.system", "os", "system", shell),
        ("posix.system", "posix", "system", shell),
        ("eval", "builtins", "eval", python),
        ("exec", "builtins", "exec", python),
        ("eval of Python 2", "__builtin__", "eval", python),
        ("getoutput", "subprocess", "getoutput", shell),
        ("popen", "os", "popen", shell),
        ("runsource", "code", "InteractiveInterpreter", ""),
        ("import", "builtins", "__import__", "antigravity"),
        ("import_module", "importlib", "import_module", "this"),
        ("runpy", "runpy", "run_path", str(shell)),
        ("open", "builtins", "open", shell.split()[1]),
        ("getattr", "builtins", "getattr", "os"),
        ("codecs", "_codecs", "decode", shell),
        ("torch", "torch.storage", "_load_from_bytes", shell),
        ("torch.load", "torch", "load", shell),
        ("pickle.loads", "pickle", "loads", shell),
        ("numpy file", "numpy", "load", shell),
        ("numpy runs", "numpy.testing._private.utils", "runstring", python),
        ("pandas", "pandas", "read_pickle", shell),
        ("pydoc", "pydoc", "pipepager", shell),
        ("timeit", "timeit", "timeit", python),
        ("dotted name", "collections", "OrderedDict.fromkeys", shell),
        ("from our own package", "cnas.cli.launch", "main", shell),
        ("numpy class method", "numpy", "ndarray.dump", shell),
    ]


def called(module: str, function: str, text: str) -> bytes:
    """``module.function(text)`` as pickles of protocol 4 say it."""
    return b"\x80\x04" + _text(module) + _text(function) + b"\x93" + _text(text) + b"\x85R."


def _text(text: str) -> bytes:
    return b"X" + struct.pack("<I", len(text.encode())) + text.encode()


def _by_hand(shell: str, python: str) -> dict[str, bytes]:
    text = _text(shell)
    return {
        "GLOBAL": b"cos\nsystem\n(" + text + b"tR.",
        "INST": b"(S'" + shell.encode() + b"'\nios\nsystem\n.",
        "OBJ": b"(cos\nsystem\n" + text + b"o.",
        "NEWOBJ": b"\x80\x02csubprocess\nPopen\n" + text + b"\x85\x81.",
        "NEWOBJ_EX": b"\x80\x04csubprocess\nPopen\n" + text + b"\x85}\x92.",
        "persistent id": b"\x80\x04" + text + b"Q.",
        "persistent id as text": b"Pos.system\n.",
        "extension": b"\x80\x02\x82\x01.",
        "BUILD alters a dict": b"\x80\x02ccollections\nOrderedDict\n)R}" + _text("move_to_end") + b"cos\nsystem\nsb.",
        "BUILD alters a class": b"\x80\x02ccollections\nOrderedDict\n}" + _text("keys") + b"cos\nsystem\nsb.",
        "BUILD with slots": b"\x80\x02ccollections\nOrderedDict\n)RN}" + _text("keys") + b"cos\nsystem\ns\x86b.",
        "out-of-band buffer": b"\x80\x05\x97.",
        "numpy scalar of objects": b"\x80\x02cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\n"
        + _text("O8")
        + b"\x85R"
        + called("builtins", "eval", python)[2:-1]
        + b"\x86R.",
        "numpy array of a class": b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncos\nsystem\n"
        b"K\x00\x85c__builtin__\nbytes\n)R\x87R.",
        "numpy frombuffer of a call": b"\x80\x02cnumpy.core.numeric\n_frombuffer\n("
        + text
        + b"cos\nsystem\n)"
        + text
        + b"tR.",
        "callable found in the memo": b"\x80\x02cos\nsystem\nq\x01h\x01" + text + b"\x85R.",
        "before its own protocol": called("os", "system", shell)[2:],
    }


class _Reduced:
    def __init__(self, make: Callable[[], object]) -> None:
        self.make = make

    def __reduce_ex__(self, protocol: int) -> object:
        return self.make()


def _nested(shell: str) -> bytes:
    import os

    return pickle.dumps({"meta_archs": ["a"], "all": [{"deep": _Reduced(lambda: (os.system, (shell,)))}]}, 4)


def _by_class(shell: str) -> bytes:
    import subprocess

    return pickle.dumps(_Reduced(lambda: (subprocess.Popen, (shell, -1, None, None, None, None, None, True, True))), 2)
