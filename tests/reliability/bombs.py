"""Small files that ask for much, what opens them, and what that takes in a process of its own."""

from __future__ import annotations

import bz2
import json
import os
import resource
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cnas.benchmarks import NatsFiles
from cnas.data import ImageConfig, load_images
from cnas.errors import CnasError
from cnas.hub import generate_lines
from cnas.reports.record import read_run
from cnas.runs.folder import RunFolder
from cnas.spaces import NatsSpace
from cnas.sweeps import grid_file
from cnas.training import checkpoint

META = "meta.pickle.pbz2"
Bomb = tuple[Callable[[Path], Any], Callable[[Path], Any]]
"""(writes it into a folder, opens it there)."""


def _pickle(data: bytes) -> Bomb:
    return lambda folder: (folder / META).write_bytes(bz2.compress(data)), NatsFiles


def _hidden(bomb: bytes) -> bytes:
    """A pickle whose frame ends within a text: Python reads another one then, and goes on elsewhere."""
    # Two of the four bytes lie in the frame, so what it reads ends two bytes later than they do.
    frame = b"\x8c\x04ab"
    rest = b"cd" + b"C" + bytes([len(bomb)]) + bomb + b"0."
    return b"\x80\x04\x95" + struct.pack("<Q", len(frame)) + frame + rest


def _copying(size: int, times: int) -> bytes:
    """A text that becomes bytes again and again; the three parts of that call are remembered."""
    text = b"X" + struct.pack("<I", size) + b"a" * size + b"q\x01"
    return (
        b"\x80\x02c_codecs\nencode\nq\x00"
        + text
        + b"X\x06\x00\x00\x00latin1q\x02("
        + b"h\x00h\x01h\x02\x86R" * times
        + b"t."
    )


def _unfolding(megabytes: int) -> bytes:
    """A few kilobytes of bz2 that become so many megabytes of a pickle."""
    squeezer = bz2.BZ2Compressor()
    parts = [squeezer.compress(b"\x80\x04")]
    parts += [squeezer.compress(b"0" * (1 << 20)) for _ in range(megabytes)]
    return b"".join([*parts, squeezer.flush()])


def _text(name: str, text: Callable[[], str], open_it: Callable[[Path], Any]) -> Bomb:
    return lambda folder: (folder / name).write_text(text(), "utf-8"), open_it


def _result(folder: Path) -> Any:
    return RunFolder(folder).read_json("result.json")


def _png(width: int, height: int) -> bytes:
    """Nothing but a head that says how large the picture is, and a beginning of its pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" * 10_000_000, 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def _pictures(width: int, height: int) -> Bomb:
    def write(folder: Path) -> None:
        for split in ("train", "test"):
            for label in "ab":
                place = folder / split / label
                place.mkdir(parents=True)
                (place / "one.png").write_bytes(_png(width, height))

    return write, lambda folder: load_images(str(folder), ImageConfig())


def _weights(header: bytes, size: int) -> Bomb:
    """A model whose weights begin with a head of ``size`` bytes, so they say."""

    def write(folder: Path) -> None:
        config = {"model_type": "cnas-rnn", "sources": [0], "activations": ["tanh"], "vocab_size": 3, "hidden_size": 2}
        (folder / "config.json").write_text(json.dumps(config), "utf-8")
        (folder / "model.safetensors").write_bytes(struct.pack("<Q", size) + header)

    return write, lambda folder: generate_lines(folder, 1, 1)


def _sealed(folder: Path) -> None:
    """A checkpoint with good checksums whose weights have a huge head."""
    made = checkpoint.save(folder / "checkpoints", 1, {"a": 1}, config_hash="x")
    huge = struct.pack("<Q", 1 << 62) + b"{}"
    body = json.loads((made / "manifest.json").read_text("utf-8"))
    del body["seal"]
    body["files"]["state.safetensors"] = {"size": len(huge), "sha256": checkpoint._sha256(huge)}
    (made / "state.safetensors").write_bytes(huge)
    (made / "manifest.json").write_bytes(checkpoint._sealed(body))


def _laughs() -> str:
    """Ten aliases of ten aliases of ..."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, 12)]
    return "\n".join(lines)


def _grid(text: Callable[[], str]) -> Bomb:
    return _text("grid.yaml", text, lambda folder: grid_file.read(folder / "grid.yaml"))


BOMBS: dict[str, Bomb] = {
    "bz2 of 300 MiB": (lambda folder: (folder / META).write_bytes(_unfolding(300)), NatsFiles),
    "pickle: 2 GiB of memo": _pickle(b"\x80\x02Nr\xff\xff\xff\x7f."),
    "pickle: 1 TiB of bytes": _pickle(b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b"."),
    "pickle: 1 TiB of bytearray": _pickle(b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b"."),
    "pickle: 4 GiB of text": _pickle(b"\x80\x02X" + struct.pack("<I", (1 << 32) - 1) + b"."),
    "pickle: frame of 1 EiB": _pickle(b"\x80\x04\x95" + struct.pack("<Q", 1 << 60) + b"N."),
    "pickle: memo behind a frame that ends amid a text": _pickle(_hidden(b"Nr\xff\xff\xff\x1f.")),
    "pickle: a million tuples, one in the other": _pickle(b"\x80\x04})" + b"\x85" * 1_000_000 + b"Ns."),
    "pickle: ten million lists": _pickle(b"\x80\x04(" + b"]" * 10_000_000 + b"t."),
    "pickle: a million sets": _pickle(b"\x80\x04(" + b"\x8f" * 1_000_000 + b"t."),
    "pickle: a key that doubles sixty times": _pickle(b"\x80\x02})" + b"2\x86" * 60 + b"Ns."),
    "pickle: the same eight megabytes copied a thousand times": _pickle(_copying(8 << 20, 1000)),
    "pickle: an array of 8 TiB": _pickle(
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R(K\x01\x8a\x06"
        + (1 << 40).to_bytes(6, "little")
        + b"\x85cnumpy\ndtype\nX\x02\x00\x00\x00f8\x85R\x89C\x00tb."
    ),
    "safetensors: head of 4 EiB": _weights(b"{}", 1 << 62),
    "safetensors: head of 90 MB that is not there": _weights(b"{" * 1000, 90_000_000),
    "safetensors in a checkpoint with good checksums": (
        _sealed,
        lambda folder: checkpoint.load_newest(folder / "checkpoints"),
    ),
    "JSON: five million brackets": _text("result.json", lambda: "[" * 5_000_000, _result),
    "JSON: brackets in a report": _text("config.json", lambda: '{"a":' * 1_000_000, read_run),
    "JSON: a number of a million digits": _text("result.json", lambda: f'{{"seed": {"9" * 1_000_000}}}', _result),
    "YAML: a billion laughs": _grid(_laughs),
    "YAML: brackets": _grid(lambda: "[" * 250_000),
    "YAML: twenty thousand keys": _grid(lambda: "".join(f"k{number}: 1\n" for number in range(20_000))),
    "YAML: 10 MB": _grid(lambda: "a: 1\n" * 2_000_000),
    "PNG of 10,000 megapixels": _pictures(100_000, 100_000),
    "PNG of 100 megapixels": _pictures(10_000, 10_000),
    "architecture of 10 MB": _text(
        "cell.txt", lambda: "|none~0|+" * 1_100_000, lambda folder: NatsSpace().parse((folder / "cell.txt").read_text())
    ),
}


def open_bomb(name: str, folder: Path, report: Path) -> int:
    """Open one, and write what it took: seconds of this process, and megabytes beyond what it had before."""
    _, open_it = BOMBS[name]
    before, start = resident(), time.process_time()
    try:
        open_it(folder)
        refusal = ""
    except CnasError as problem:
        refusal = str(problem)
    took = {"refusal": refusal, "seconds": time.process_time() - start, "megabytes": peak() - before}
    report.write_text(json.dumps(took), "utf-8")
    return 0


def resident() -> float:
    """Megabytes of this process now."""
    pages = int(Path("/proc/self/statm").read_text("utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def peak() -> float:
    """Megabytes of this process at most, so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
