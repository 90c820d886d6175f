"""Folders of finished runs that nobody has run: the result of one, under the configuration of another."""

import json
from pathlib import Path
from typing import Any

from cnas.runs.config import RunConfig


def finished_copy(finished: Path, folder: Path, config: RunConfig, **changes: Any) -> None:
    """Make ``folder`` that of a finished run with ``config``, whose result is changed."""
    folder.mkdir(parents=True)
    result = json.loads((finished / "result.json").read_text("utf-8")) | changes
    (folder / "result.json").write_text(json.dumps(result), "utf-8")
    (folder / "config.json").write_text(json.dumps(config.to_json()), "utf-8")


def figures(finished: Path, test: float) -> dict[str, Any]:
    """The ``retrain`` part of a result with perplexities of its own."""
    known: dict[str, Any] = json.loads((finished / "result.json").read_text("utf-8"))["retrain"]
    return known | {"test_perplexity": test, "valid_perplexity": test + 1}
