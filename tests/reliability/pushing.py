"""A push in a process of its own, to a Hub on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import huggingface_hub
from huggingface_hub import constants
from stub import TOKEN

from cnas.hub import push_run

REPO = "owner/found"


def push(run: Path, url: str) -> int:
    """Push the run to the Hub at ``url``."""
    with at(url):
        push_run(run, REPO, log=lambda line: None)
    return 0


@contextmanager
def at(url: str) -> Iterator[None]:
    """While it lasts, `huggingface_hub` takes ``url`` for the Hub."""
    changed = {"ENDPOINT": url, "HF_HUB_OFFLINE": False, "HF_HUB_DISABLE_XET": True}
    with patch.multiple(constants, **changed), patch.dict("os.environ", {"HF_TOKEN": TOKEN}):
        try:
            yield
        finally:
            huggingface_hub.close_session()
