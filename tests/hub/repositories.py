"""What a Hub keeps: repositories with their revisions, and large files by their hash."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from dataclasses import dataclass, field

LARGE = (".safetensors", ".png", ".parquet")


@dataclass(frozen=True)
class Snapshot:
    """The files of one revision, by path."""

    sha: str
    files: dict[str, bytes]


@dataclass
class Repository:
    """``revisions``: snapshots by branch, reference and sha; ``titles``: of the commits, oldest first."""

    kind: str
    name: str
    private: bool = False
    revisions: dict[str, Snapshot] = field(default_factory=dict)
    titles: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.commit("main", {".gitattributes": b"*.safetensors filter=lfs\n"}, "initial commit")

    def commit(self, revision: str, files: dict[str, bytes], title: str) -> Snapshot:
        before = self.revisions.get(revision, Snapshot("", {}))
        after = before.files | files
        state = json.dumps([before.sha, title, sorted((path, oid(path, data)) for path, data in after.items())])
        snapshot = Snapshot(hashlib.sha1(state.encode()).hexdigest(), after)
        self.revisions[revision] = self.revisions[snapshot.sha] = snapshot
        self.titles.append(title)
        return snapshot

    def entry(self, path: str, snapshot: Snapshot) -> dict[str, object]:
        """A file as the API lists it."""
        data = snapshot.files[path]
        row: dict[str, object] = {"type": "file", "path": path, "size": len(data), "oid": blob_oid(data)}
        if path.endswith(LARGE):
            row["lfs"] = {"oid": sha256(data), "size": len(data), "pointerSize": 130}
        return row


class Store:
    """All repositories, and the large files that were uploaded, committed or not."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.large: dict[str, bytes] = {}

    def add(self, kind: str, name: str, *, private: bool = False) -> Repository:
        return self.repositories.setdefault((kind, name), Repository(kind, name, private))

    def files_of(self, lines: list[dict]) -> dict[str, bytes]:
        """What the lines of a commit add; KeyError where a large file was never uploaded."""
        found = {}
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                found[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                found[value["path"]] = self.large[value["oid"]]
        return found


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def blob_oid(data: bytes) -> str:
    """The name git gives to a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def oid(path: str, data: bytes) -> str:
    """What the Hub compares contents by."""
    return sha256(data) if path.endswith(LARGE) else blob_oid(data)
