"""A Hub on loopback: as much of its HTTP interface as creating, pushing and downloading need, and faults on demand."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

from repositories import LARGE, Repository, Snapshot, Store, oid, sha256

TOKEN, OWNER = "hf_TheTokenOfTheStub", "owner"
_API = r"/api/(?P<kind>models|datasets)/(?P<name>[^/]+/[^/]+)"
ROUTES = {
    "whoami": ("GET", r"/api/whoami-v2"),
    "create": ("POST", r"/api/repos/create"),
    "card": ("POST", r"/api/validate-yaml"),
    "preupload": ("POST", rf"{_API}/preupload/(?P<revision>[^/]+)"),
    "commit": ("POST", rf"{_API}/commit/(?P<revision>[^/]+)"),
    "batch": ("POST", r"/(?P<name>[^/]+/[^/]+)\.git/info/lfs/objects/batch"),
    "put": ("PUT", r"/large/(?P<oid>\w+)"),
    "paths": ("POST", rf"{_API}/paths-info/(?P<revision>[^/]+)"),
    "refs": ("GET", rf"{_API}/refs"),
    "tree": ("GET", rf"{_API}/tree/(?P<revision>[^/]+)(/(?P<path>.+))?"),
    "info": ("GET", rf"{_API}(/revision/(?P<revision>[^/]+))?"),
    "file": ("GET", r"/((?P<kind>datasets)/)?(?P<name>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)"),
}
"""By name: method and path, as it is quoted; the first that fits is taken. HEAD goes with GET."""
WRITES = {"create", "preupload", "commit", "batch"}


@dataclass
class Fault:
    """What happens to the next ``times`` requests of a route; without a status the connection is cut amid the body."""

    route: str
    status: int | None = None
    times: int = 1_000_000
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"{}"
    after: bool = False
    """The request is done first, and only its answer is lost."""


@dataclass(frozen=True)
class Seen:
    """A request that arrived, with the bytes of its body that were read."""

    route: str
    path: str
    size: int
    token: str | None


class AnsweredError(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, code: str = "", message: str = "") -> None:
        super().__init__(message)
        self.status, self.headers = status, {"X-Error-Code": code, "X-Error-Message": message}


class Hub(ThreadingHTTPServer):
    """``url`` is what ``HF_ENDPOINT`` must be."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.store, self.faults, self.seen = Store(), [], []
        self.faults: list[Fault]
        self.seen: list[Seen]

    def files(self, name: str, kind: str = "models") -> dict[str, bytes]:
        """What a repository holds, without what the Hub itself puts there."""
        files = self.store.repositories[kind, name].revisions["main"].files
        return {path: data for path, data in files.items() if path != ".gitattributes"}

    def count(self, route: str) -> int:
        return sum(seen.route == route for seen in self.seen)

    def handle_error(self, request, client_address) -> None:
        """A connection that was cut on purpose is no news."""


@contextlib.contextmanager
def running() -> Iterator[Hub]:
    """A Hub that answers until the block ends."""
    hub = Hub()
    thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join(60)


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"
    timeout = 300
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is printed."""

    def do_GET(self) -> None:
        self._serve("GET")

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self) -> None:
        self._serve("POST")

    def do_PUT(self) -> None:
        self._serve("PUT")

    def _serve(self, method: str) -> None:
        url = urlsplit(self.path)
        found = ((name, re.fullmatch(path, url.path)) for name, (kind, path) in ROUTES.items() if kind == method)
        route, match = next(((name, match) for name, match in found if match), ("", None))
        fault = self._fault(route)
        size = int(self.headers.get("Content-Length") or 0)
        cut = fault is not None and fault.status is None and not fault.after
        body = self.rfile.read(size // 2 if cut else size)
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None
        self.server.seen.append(Seen(route, self.path, len(body), token))
        if cut:
            return self._cut()
        if fault is not None and not fault.after:
            return self._answer(fault.status or 500, fault.body, fault.headers)
        try:
            if match is None:
                raise AnsweredError(404, "EntryNotFound", f"the stub knows no {method} {url.path}")
            self._check(route, token)
            groups = {key: unquote(value) for key, value in match.groupdict().items() if value is not None}
            with self.server.store.lock:
                answer = getattr(self, f"_{route}")(body, parse_qs(url.query), **groups)
        except AnsweredError as failure:
            return self._answer(failure.status, json.dumps({"error": str(failure)}).encode(), failure.headers)
        if fault is not None:
            return self._cut()
        return answer() if callable(answer) else self._answer(200, json.dumps(answer).encode())

    def _fault(self, route: str) -> Fault | None:
        for fault in self.server.faults:
            if fault.route == route and fault.times > 0:
                fault.times -= 1
                return fault
        return None

    def _cut(self) -> None:
        # Closed at once and with a reset, as by a machine that fails.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            if value:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _check(self, route: str, token: str | None) -> None:
        if route in WRITES and token != TOKEN:
            raise AnsweredError(401, message="Invalid credentials in Authorization header")

    def _repository(self, kind: str, name: str) -> Repository:
        found = self.server.store.repositories.get((kind, name))
        readable = found is not None and (not found.private or TOKEN in (self.headers.get("Authorization") or ""))
        if found is None or not readable:
            raise AnsweredError(404, "RepoNotFound", "Repository not found")
        return found

    def _snapshot(self, repository: Repository, revision: str) -> Snapshot:
        if revision not in repository.revisions:
            raise AnsweredError(404, "RevisionNotFound", "Invalid rev id")
        return repository.revisions[revision]

    def _whoami(self, body, query):
        return {"type": "user", "name": OWNER, "orgs": []}

    def _create(self, body, query):
        asked = json.loads(body)
        name = f"{asked['organization']}/{asked['name']}"
        if asked["organization"] != OWNER:
            raise AnsweredError(403, message="You don't have the rights to create a model under this namespace")
        answer = json.dumps({"url": f"{self.server.url}/{name}", "name": name}).encode()
        if ("models", name) in self.server.store.repositories:
            return lambda: self._answer(409, answer)
        self.server.store.add("models", name, private=asked.get("visibility") == "private")
        return lambda: self._answer(200, answer)

    def _card(self, body, query):
        if not json.loads(body)["content"].startswith("---\n"):
            raise AnsweredError(400, message="no metadata")
        return {"errors": [], "warnings": []}

    def _preupload(self, body, query, kind, name, revision):
        there = self._snapshot(self._repository(kind, name), revision).files
        return {
            "files": [
                {
                    "path": path,
                    "uploadMode": "lfs" if path.endswith(LARGE) else "regular",
                    "shouldIgnore": False,
                    "oid": oid(path, there[path]) if path in there else None,
                }
                for path in (file["path"] for file in json.loads(body)["files"])
            ]
        }

    def _batch(self, body, query, name):
        objects = json.loads(body)["objects"]
        for wanted in objects:
            if wanted["oid"] not in self.server.store.large:
                wanted["actions"] = {"upload": {"href": f"{self.server.url}/large/{wanted['oid']}"}}
        return {"transfer": "basic", "objects": objects}

    def _put(self, body, query, oid):
        if sha256(body) != oid:
            raise AnsweredError(400, message="the hash is another one")
        self.server.store.large[oid] = body
        return {}

    def _commit(self, body, query, kind, name, revision):
        repository = self._repository(kind, name)
        header, *lines = [json.loads(line) for line in body.splitlines()]
        snapshot = repository.commit(revision, self.server.store.files_of(lines), header["value"]["summary"])
        url = f"{self.server.url}/{name}/commit/{snapshot.sha}"
        return {"success": True, "commitUrl": url, "commitOid": snapshot.sha}

    def _paths(self, body, query, kind, name, revision):
        repository = self._repository(kind, name)
        snapshot = self._snapshot(repository, revision)
        asked = parse_qs(body.decode()).get("paths") or json.loads(body or b"{}").get("paths", [])
        return [repository.entry(path, snapshot) for path in asked if path in snapshot.files]

    def _refs(self, body, query, kind, name):
        found = self._repository(kind, name).revisions
        branches = [{"name": "main", "ref": "refs/heads/main", "targetCommit": found["main"].sha}]
        converts = [
            {"name": ref.split("/")[-1], "ref": ref, "targetCommit": snapshot.sha}
            for ref, snapshot in found.items()
            if ref.startswith("refs/convert/")
        ]
        return {"branches": branches, "converts": converts, "tags": []}

    def _tree(self, body, query, kind, name, revision, path=""):
        repository = self._repository(kind, name)
        snapshot = self._snapshot(repository, revision)
        inside = [file for file in sorted(snapshot.files) if file.startswith(f"{path}/" if path else "")]
        if path and not inside:
            raise AnsweredError(404, "EntryNotFound", "no such folder")
        rows = [repository.entry(file, snapshot) for file in inside]
        if query.get("recursive") not in (["true"], ["True"], ["1"]):
            depth = path.count("/") + 1 if path else 0
            folders = sorted({"/".join(file.split("/")[: depth + 1]) for file in inside if file.count("/") > depth})
            rows = [row for row in rows if str(row["path"]).count("/") == depth]
            rows += [{"type": "directory", "path": folder, "size": 0, "oid": "0" * 40} for folder in folders]
        return rows

    def _info(self, body, query, kind, name, revision="main"):
        repository = self._repository(kind, name)
        snapshot = self._snapshot(repository, revision)
        siblings = [{"rfilename": path} for path in sorted(snapshot.files)]
        more = {"private": repository.private, "gated": False, "disabled": False, "tags": [], "downloads": 0}
        return {"_id": "0" * 24, "id": name, "sha": snapshot.sha, "siblings": siblings, **more}

    def _file(self, body, query, name, revision, path, kind="models"):
        snapshot = self._snapshot(self._repository(kind, name), revision)
        if path not in snapshot.files:
            raise AnsweredError(404, "EntryNotFound", "Entry not found")
        return lambda: self._send_file(path, snapshot)

    def _send_file(self, path: str, snapshot: Snapshot) -> None:
        data = snapshot.files[path]
        headers = {
            "ETag": f'"{oid(path, data)}"',
            "X-Repo-Commit": snapshot.sha,
            "Accept-Ranges": "bytes",
            "Content-Type": "application/octet-stream",
        }
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if span:
            start, end = int(span[1]), min(int(span[2] or len(data) - 1), len(data) - 1)
            headers["Content-Range"] = f"bytes {start}-{end}/{len(data)}"
            return self._answer(206, data[start : end + 1], headers)
        return self._answer(200, data, headers)
