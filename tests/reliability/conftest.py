"""Each fault has a quick version in `make test` and a long one in `make test-long`: the same test, more cases."""

import json
import os
import time
from pathlib import Path

import pytest

LONG_SECONDS = 4000
"""Against hanging, of one test in its long version: the slowest takes six and a half minutes."""


def pytest_collection_modifyitems(config, items):
    if config.getoption("--long"):
        for item in items:
            if Path(__file__).parent in item.path.parents and not item.get_closest_marker("timeout"):
                item.add_marker(pytest.mark.timeout(LONG_SECONDS), append=False)


@pytest.fixture
def budget(request):
    """``budget(quick, long)``: how many cases this version has."""
    return lambda quick, long: long if request.config.getoption("--long") else quick


@pytest.fixture
def measured(request):
    """``measured(text)``: what docs/reliability.md says of this test; once per test."""
    start = time.monotonic()

    def write(text):
        file = request.config.getoption("--figures")
        if file is not None:
            name = f"{request.path.name}::{request.node.originalname}"
            row = {"test": name, "measured": text, "seconds": round(time.monotonic() - start, 1)}
            # One write at the end of the file: several workers share it.
            handle = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            os.write(handle, (json.dumps(row, ensure_ascii=False) + "\n").encode())
            os.close(handle)

    return write
