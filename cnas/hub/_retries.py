"""Asks the Hub again where that may help, and says why where it does not."""

from __future__ import annotations

import email.utils
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from huggingface_hub.errors import HfHubHTTPError, HTTPError

from cnas.errors import CnasError

Result = TypeVar("Result")

_AGAIN = {408, 409, 412, 425, 429}
"""Beside 5xx: too slow, somebody else committed in between, too many requests."""
_FAILURES = (HTTPError, OSError, RuntimeError, ValueError)
"""What `huggingface_hub` raises; a failed upload of a large file is a `RuntimeError`."""
_HINTS = {
    401: "the token is not valid; `hf auth login` or HF_TOKEN gives another",
    403: "the token may not write there",
    404: "there is no such repository or namespace, or the token may not see it",
    429: "too many requests",
}


class GaveUpError(Exception):
    """The Hub did not do what it was asked, and asking again is of no use; the text says why, in one line."""


@dataclass(frozen=True)
class RetryPolicy:
    """How a push waits for a Hub that is busy or out of reach.

    Attributes:
        attempts: how often each step is tried.
        first_wait: seconds before the second attempt; the wait doubles with every further one, up to half a minute.
        longest_wait: seconds; if the Hub asks for a longer pause, the push breaks off at once and says so.
        sleep: waits for so many seconds.
    """

    attempts: int = 5
    first_wait: float = 1.0
    longest_wait: float = 300.0
    sleep: Callable[[float], None] = time.sleep

    def call(self, action: Callable[[], Result], say: Callable[[str], None]) -> Result:
        """What ``action`` returns, as soon as it succeeds.

        Args:
            action: a step that may be repeated.
            say: takes a line before every wait.

        Raises:
            GaveUpError: it failed for good, too often, or the Hub asks for more patience than there is.
        """
        for attempt in range(1, self.attempts + 1):
            try:
                return action()
            except CnasError:
                raise
            except _FAILURES as error:
                cause = _cause(error)
                wait = self._wait(cause, attempt)
                if wait is None:
                    raise GaveUpError(_reason(cause)) from error
                say(f"{_reason(cause)}; trying again in {wait:g} s ({attempt} of {self.attempts} attempts failed)")
                self.sleep(wait)
        raise GaveUpError("no attempt was allowed")

    def _wait(self, error: BaseException, attempt: int) -> float | None:
        if attempt >= self.attempts or not _passes(error):
            return None
        asked = _asked(error.response.headers) if isinstance(error, HfHubHTTPError) else None
        wait = min(self.first_wait * 2 ** (attempt - 1), 30.0) if asked is None else asked
        return wait if wait <= self.longest_wait else None


def _cause(error: BaseException) -> BaseException:
    """What is behind the wrapping of a failed upload."""
    while isinstance(error, RuntimeError) and error.__cause__ is not None:
        error = error.__cause__
    return error


def _passes(error: BaseException) -> bool:
    """Whether it is something that passes."""
    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in _AGAIN or error.response.status_code >= 500
    # A gateway's page of HTML in place of JSON; a connection that broke; what the uploader gives no kind to.
    return isinstance(error, HTTPError | json.JSONDecodeError | ConnectionError | TimeoutError | RuntimeError)


def _asked(headers: Mapping[str, str]) -> float | None:
    """Seconds that the Hub asks to wait."""
    value = headers.get("Retry-After", "").strip()
    if value.isdigit():
        return float(value)
    if value:
        try:
            return max(0.0, (email.utils.parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
        except (TypeError, ValueError):
            pass
    # The Hub's own way: "api";r=0;t=55
    reset = re.search(r";\s*r=0\s*;\s*t=(\d+)", headers.get("RateLimit", ""))
    return float(reset[1]) if reset else None


def _reason(error: BaseException) -> str:
    if not isinstance(error, HfHubHTTPError):
        what = ": ".join(part for part in (type(error).__name__, _line(error)) if part)
        return f"the Hub is out of reach or broke off ({what})" if _passes(error) else what
    status, reason = error.response.status_code, _line(error.server_message or "")
    asked = _asked(error.response.headers) if status in _AGAIN else None
    parts = [f"the Hub answered {status}", _HINTS.get(status, ""), reason, f"it asks for {asked:g} s" if asked else ""]
    return ", ".join(part for part in parts if part)


def _line(text: object) -> str:
    return " ".join(str(text).split())[:160]
