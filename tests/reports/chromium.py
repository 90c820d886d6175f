"""Headless Chromium, driven through its debugging pipe: file descriptors 3 and 4, messages end with a zero byte."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PROGRAM = next(filter(None, map(shutil.which, _NAMES)), None)
MISSING = "no chromium on PATH (apt install chromium)"
SECONDS = 300.0
"""Against hanging: the browser answers within seconds."""
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)


@dataclass
class Tab:
    """One page of the browser, and what it has reported so far."""

    reader: int
    writer: int
    session: str = ""
    events: list[dict[str, Any]] = field(default_factory=list)
    _waiting: bytes = b""
    _count: int = 0

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send one command and wait for its answer."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.writer, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._count:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def open(self, path: Path, width: int, *, dark: bool = False) -> None:
        """Load a page in a window of ``width`` CSS pixels, and wait until it has loaded."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.events.clear()
        self.call("Page.navigate", url=path.resolve().as_uri())
        while not self.reports("Page.loadEventFired"):
            self.events.append(self._next())

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def reports(self, *methods: str) -> list[dict[str, Any]]:
        """The parameters of all events of these kinds since the page was opened."""
        return [event["params"] for event in self.events if event.get("method") in methods]

    def screenshot(self, path: Path, height: int | None = None) -> None:
        """The page as PNG; the whole of it where ``height`` is None."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": height or size["height"], "scale": 1}
        data = self.call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)["data"]
        path.write_bytes(base64.b64decode(data))

    def _next(self) -> dict[str, Any]:
        ends = time.monotonic() + SECONDS
        while b"\0" not in self._waiting:
            ready, _, _ = select.select([self.reader], [], [], max(0.0, ends - time.monotonic()))
            found = os.read(self.reader, 1 << 16) if ready else b""
            if not found:
                raise RuntimeError("the browser does not answer")
            self._waiting += found
        message, self._waiting = self._waiting.split(b"\0", 1)
        return json.loads(message)


@contextmanager
def browser() -> Iterator[Tab]:
    """A running browser with one empty page."""
    assert PROGRAM is not None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        pid, reader, writer = _start(profile)
        try:
            tab = Tab(reader, writer)
            target = tab.call("Target.createTarget", url="about:blank")["targetId"]
            tab.session = tab.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                tab.call(f"{domain}.enable")
            yield tab
        finally:
            os.close(writer)
            os.close(reader)
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _start(profile: str) -> tuple[int, int, int]:
    """(process id, where its messages come from, where commands go)."""
    assert PROGRAM is not None
    commands, writer = os.pipe()
    reader, messages = os.pipe()
    # High numbers first, so that neither is overwritten when 3 and 4 are set in the child.
    ends = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 64) for end in (commands, messages)]
    silence = os.open(os.devnull, os.O_RDWR)
    actions = [(os.POSIX_SPAWN_DUP2, end, number) for end, number in zip(ends, (3, 4), strict=True)]
    actions += [(os.POSIX_SPAWN_DUP2, silence, number) for number in (0, 1, 2)]
    argv = [PROGRAM, *_FLAGS, f"--user-data-dir={profile}"]
    # A group of its own: its helpers end with it.
    pid = os.posix_spawn(PROGRAM, argv, os.environ, file_actions=actions, setpgroup=0)
    for end in (commands, messages, silence, *ends):
        os.close(end)
    return pid, reader, writer
