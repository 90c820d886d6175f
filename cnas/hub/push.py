"""Pushes a finished run to the Hugging Face Hub, as a model repository that can be loaded by its name."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi, get_token, is_offline_mode
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, HTTPError
from huggingface_hub.utils import validate_repo_id

from cnas.errors import PushError, UserError
from cnas.hub.model_kind import ModelKind, kind_of
from cnas.hub.run_files import Commit, commits, refuse_secrets
from cnas.runs.result import RunResult

_NAMED = 8
"""Files that a message names before it counts the others."""
_FAILURES = (HTTPError, OSError, RuntimeError, ValueError)
"""What `huggingface_hub` raises; a failed upload of a large file is a `RuntimeError`."""
_HINTS = {
    401: "the token is not valid; `hf auth login` or HF_TOKEN gives another",
    403: "the token may not write there",
    404: "there is no such repository or namespace, or the token may not see it",
    429: "too many requests",
}

_CODE = """\
Where `cnas` is not installed, leave its line out and give `trust_remote_code=True` to both calls. That runs the Python
files of this repository: read them first.

"""


def push_run(
    run: str | Path,
    repo_id: str,
    *,
    private: bool = False,
    architecture_only: bool = False,
    include_checkpoints: bool = False,
    log: Callable[[str], None] = print,
) -> str:
    """Upload what a finished run leaves; ``from_pretrained(repo_id)`` then loads it.

    The content of ``model/`` goes to the root of the repository, which is made where it is missing; beside it card,
    ``result.json``, ``metrics.jsonl``, ``cell.txt``, ``samples.txt`` and ``figures/``. Never uploaded are the run's
    ``config.json`` and ``logs/``, pickles, dot files, and whatever a link points to. Nothing is deleted from the
    repository. The model arrives whole or not at all. Uploads are tried again by `huggingface_hub`; a push that broke
    off is finished by the same call: what is there already is not sent again.

    The token is that of ``hf auth login`` or ``HF_TOKEN``, the Hub that of ``HF_ENDPOINT``.

    Args:
        run: folder of a finished run.
        repo_id: ``owner/name`` of the model repository.
        private: only its owners may see the repository; refused where a public one of this name exists.
        architecture_only: card, ``result.json``, cell, figures and the model's configuration, but no weights.
        include_checkpoints: also ``checkpoints/``; search checkpoints are large.
        log: is called with a line for every file left out, and where the push is interrupted.

    Returns:
        The URL of the last commit, which has the repository's in it.

    Raises:
        UserError: ``run`` is not the folder of a finished run, ``repo_id`` is none, there is no token, a file holds
            something private. Only the check of ``private`` sends a request before it raises.
        PushError: the Hub refused or could not be reached; the message says what is uploaded and what is left.
    """
    _check_id(repo_id)
    if architecture_only and include_checkpoints:
        raise UserError("architecture_only and include_checkpoints exclude each other: checkpoints are weights")
    token, run = _token(), Path(run)
    found, left_out = commits(run, architecture_only=architecture_only, include_checkpoints=include_checkpoints)
    kind = kind_of(RunResult.load(run))
    for commit in found:
        if "README.md" in commit.files:
            card = _card(run / "README.md")
            changed = without_weights(card, repo_id, kind) if architecture_only else with_repo_id(card, repo_id)
            commit.files["README.md"] = changed.encode()
    refuse_secrets(found, run, token)
    for name in left_out:
        log(f"left out: {name}")
    return _send(HfApi(token=token), repo_id, found, private=private, log=log)


def _send(api: HfApi, repo_id: str, found: list[Commit], *, private: bool, log: Callable[[str], None]) -> str:
    done: list[str] = []
    try:
        url = _create(api, repo_id, private)
        for commit in found:
            added = [CommitOperationAdd(name, source) for name, source in commit.files.items()]
            url = str(api.create_commit(repo_id, added, commit_message=commit.title).commit_url)
            done += commit.files
    except UserError:
        raise
    except _FAILURES as problem:
        raise PushError(_broke_off(repo_id, _reason(problem), found, done)) from problem
    except KeyboardInterrupt:
        log(_broke_off(repo_id, "interrupted", found, done))
        raise
    return url


def _broke_off(repo_id: str, why: str, found: list[Commit], done: list[str]) -> str:
    left = [name for commit in found for name in commit.files if name not in done]
    return (
        f"push to {repo_id} broke off: {why}; uploaded: {_named(done)}; left: {_named(left)}; "
        "the same command finishes it"
    )


def _named(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}" if names else "nothing"


def _reason(error: BaseException) -> str:
    """Why the Hub did not do what it was asked, in one line."""
    while isinstance(error, RuntimeError) and error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        parts = [f"the Hub answered {status}", _HINTS.get(status, ""), _line(error.server_message or "")]
        return ", ".join(part for part in parts if part)
    what = f"{type(error).__name__}: {_line(error)}".removesuffix(": ")
    # A gateway may answer with a page of HTML in place of JSON.
    passes = isinstance(error, HTTPError | json.JSONDecodeError | ConnectionError | TimeoutError | RuntimeError)
    return f"the Hub is out of reach or broke off ({what})" if passes else what


def _line(text: object) -> str:
    return " ".join(str(text).split())[:160]


def _create(api: HfApi, repo_id: str, private: bool) -> str:
    # Without --private the default of the owner holds, which may be private.
    url = str(api.create_repo(repo_id, private=private or None, exist_ok=True))
    if private and not api.model_info(repo_id).private:
        raise UserError(f"repo_id {repo_id} is public already; --private needs a new name, or change its settings")
    return url


def _check_id(repo_id: str) -> None:
    with suppress(HFValidationError):
        validate_repo_id(repo_id)
        if "/" in repo_id:
            return
    raise UserError(f"repo_id must be owner/name, of letters, digits, '-', '_' and '.', got {str(repo_id)[:100]!r}")


def _token() -> str:
    if is_offline_mode():
        raise UserError("HF_HUB_OFFLINE is set: nothing can be pushed; unset it")
    token = get_token()
    if not token:
        raise UserError("token is missing: log in with `hf auth login`, or set HF_TOKEN to a token that may write")
    return str(token)


def _card(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except ValueError as problem:
        raise UserError(f"run: {path.name} is not UTF-8; nothing was pushed") from problem


def with_repo_id(card: str, repo_id: str) -> str:
    """A run's card whose snippet loads the model by its name on the Hub.

    Args:
        card: the text of the run's ``README.md``.
        repo_id: ``owner/name``.
    """
    return card.replace('\nfolder = "model"\n', f'\nfolder = "{repo_id}"\n', 1)


def without_weights(card: str, repo_id: str, kind: ModelKind) -> str:
    """A run's card for a repository that has no weights: its snippet makes the network anew.

    Args:
        card: the text of the run's ``README.md``.
        repo_id: ``owner/name``.
        kind: of the model.
    """
    known, code = ("", "") if kind.stock else ("import cnas  # lets transformers know the model\n", _CODE)
    use = f"""## Use

The weights are not part of this repository. This makes the network with new ones, to be trained:

```python
{known}from transformers import AutoConfig, {kind.auto}

model = {kind.auto}.from_config(AutoConfig.from_pretrained("{repo_id}"))
```

{code}"""
    return re.sub(r"(?ms)^## Use\n.*?(?=^## )", lambda _: use, card, count=1)
