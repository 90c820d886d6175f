"""A Hub that refuses, is busy or breaks off: how long a push goes on, what it says, and that it can be finished."""

import email.utils
import re
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from huggingface_hub.utils import _http
from hypothesis import given, settings
from hypothesis import strategies as st
from stub import Fault

from cnas.errors import PushError
from cnas.hub._retries import GaveUpError, RetryPolicy
from cnas.hub.push import push_run

# `huggingface_hub` uploads large files in a way that its own HTTP client advises against.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>' to upload raw:DeprecationWarning")
REPO = "owner/found"
BACK_OFF = [1.0, 2.0, 4.0, 8.0]


@pytest.fixture
def waits():
    """Seconds that a push would have waited."""
    return []


@pytest.fixture
def push(run, waits, monkeypatch):
    """Pushes the run without waiting, neither here nor within `huggingface_hub`, which tries uploads again itself."""
    monkeypatch.setattr(_http, "time", SimpleNamespace(sleep=lambda seconds: None, time=time.time))

    def call(repo_id=REPO, **options):
        return push_run(run, repo_id, patience=RetryPolicy(sleep=waits.append), say=lambda line: None, **options)

    return call


def broken(push, *args):
    """The message with which a push breaks off: one line, exit code 6."""
    with pytest.raises(PushError) as caught:
        push(*args)
    assert caught.value.exit_code == 6
    assert "\n" not in str(caught.value)
    return str(caught.value)


def lists(message):
    """(uploaded, left) of a message."""
    found = re.search(r"; uploaded: (.*); left: (.*); the same command finishes it$", message)
    return found[1], found[2]


def test_a_token_that_is_not_accepted_is_no_matter_of_patience(hub, push, waits, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    message = broken(push)
    assert "the Hub answered 401, the token is not valid" in message
    assert lists(message)[0] == "nothing"
    assert (waits, hub.count("create"), "hf_wrong" in message) == ([], 1, False)


def test_a_namespace_of_somebody_else_is_refused(hub, push, waits):
    assert "the Hub answered 403, the token may not write there" in broken(push, "somebody/found")
    assert waits == []


def test_a_repository_that_is_gone_is_said_to_be_gone(hub, push, waits):
    hub.faults.append(Fault("preupload", 404, headers={"X-Error-Code": "RepoNotFound"}))
    assert "the Hub answered 404, there is no such repository" in broken(push)
    assert (waits, hub.count("preupload")) == ([], 1)


@pytest.mark.parametrize("route", ["create", "card", "commit"])
def test_retry_after_is_obeyed(hub, push, waits, route):
    hub.faults.append(Fault(route, 429, times=2, headers={"Retry-After": "7"}))
    push()
    assert waits == [7.0, 7.0]
    assert "README.md" in hub.files(REPO)


def test_retry_after_may_be_a_date_or_the_hubs_own_header(hub, push, waits):
    date = email.utils.format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    hub.faults += [
        Fault("create", 503, times=1, headers={"Retry-After": date}),
        Fault("create", 503, times=1, headers={"Retry-After": "soon"}),
        Fault("commit", 429, times=1, headers={"RateLimit": '"api";r=0;t=55'}),
    ]
    push()
    assert 80 < waits[0] <= 100
    assert waits[1:] == [2.0, 55.0]


def test_a_pause_that_is_too_long_is_said_instead_of_waited(hub, push, waits):
    hub.faults.append(Fault("commit", 429, headers={"Retry-After": "4000"}))
    assert "the Hub answered 429, too many requests, it asks for 4000 s" in broken(push)
    assert waits == []


def test_a_hub_that_fails_is_asked_again_and_then_given_up(hub, push, waits):
    hub.faults.append(Fault("commit", 500))
    message = broken(push)
    assert "the Hub answered 500" in message
    assert lists(message)[0] == "nothing"
    assert lists(message)[1].startswith("config.json, generation_config.json, model.safetensors, ")
    assert waits == BACK_OFF
    assert hub.files(REPO) == {}


def test_what_is_uploaded_and_what_is_left_is_true_and_the_rest_follows(hub, push, waits):
    hub.faults.append(Fault("card", 502, body=b"<html>Bad Gateway</html>"))
    uploaded, left = lists(broken(push))
    assert waits == BACK_OFF
    named, _, more = uploaded.partition(" and ")
    assert set(named.split(", ")) < set(hub.files(REPO))
    assert len(named.split(", ")) + int(more.removesuffix(" more")) == len(hub.files(REPO))
    assert "model.safetensors" in named
    assert left.startswith("README.md, result.json, cell.txt")
    hub.faults.clear()
    puts = hub.count("put")
    push()
    assert set(left.split(" and ")[0].split(", ")) <= set(hub.files(REPO))
    assert hub.count("put") - puts == sum(name.endswith(".png") for name in hub.files(REPO))


def test_a_connection_cut_amid_an_upload_is_gone_on_with_by_the_same_call(hub, push, run, waits):
    hub.faults.append(Fault("put"))
    message = broken(push)
    assert re.search(r"the Hub is out of reach or broke off \(\w+Error", message)
    assert lists(message)[0] == "nothing"
    assert waits == BACK_OFF
    size = (run / "model" / "model.safetensors").stat().st_size
    assert {seen.size for seen in hub.seen if seen.route == "put"} == {size // 2}
    assert hub.files(REPO) == {}
    hub.faults.clear()
    push()
    assert hub.files(REPO)["model.safetensors"] == (run / "model" / "model.safetensors").read_bytes()
    assert "README.md" in hub.files(REPO)


def test_a_connection_cut_once_is_not_even_noticed(hub, push, waits):
    hub.faults += [Fault("create", times=1), Fault("put", times=1), Fault("commit", times=1)]
    push()
    assert waits == [1.0, 1.0]
    assert hub.store.repositories["models", REPO].titles[1:] == ["Add the model", "Add the card and what was measured"]


def test_an_answer_that_was_lost_is_no_second_commit(hub, push, waits):
    hub.faults += [Fault("create", times=1, after=True), Fault("commit", times=1, after=True)]
    push()
    assert waits == [1.0, 1.0]
    assert hub.store.repositories["models", REPO].titles[1:] == ["Add the model", "Add the card and what was measured"]


def test_a_large_file_that_arrived_is_not_sent_again(hub, push):
    hub.faults.append(Fault("commit", 500))
    broken(push)
    assert hub.count("put") == 1
    hub.faults.clear()
    push()
    sent = [seen.path for seen in hub.seen if seen.route == "put"]
    assert len(sent) == len(set(sent))


def test_an_interrupted_push_says_what_is_left(hub, run):
    hub.faults.append(Fault("card", 503))
    said = []

    def interrupt(seconds):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        push_run(run, REPO, patience=RetryPolicy(sleep=interrupt), say=said.append)
    assert "; trying again in 1 s (1 of 5 attempts failed)" in said[0]
    assert "broke off: interrupted; uploaded: config.json" in said[1]
    assert lists(said[1])[1].startswith("README.md, result.json")


def test_a_hub_that_is_not_there_is_said_in_one_line(hub, push, waits):
    hub.server_close()
    hub.shutdown()
    assert "the Hub is out of reach or broke off (ConnectError" in broken(push)
    assert waits == BACK_OFF


@settings(derandomize=True, deadline=None, max_examples=20)
@given(attempts=st.integers(1, 9), first=st.floats(0.0, 40.0), longest=st.floats(0.0, 60.0))
def test_waits_grow_and_are_bounded(attempts, first, longest):
    waits: list[float] = []
    patience = RetryPolicy(attempts, first, longest, waits.append)

    def fail():
        raise ConnectionError("away")

    with pytest.raises(GaveUpError, match="away"):
        patience.call(fail, lambda line: None)
    assert waits == sorted(waits)
    assert len(waits) < attempts
    assert all(wait <= min(longest, 30.0) for wait in waits)
    if min(first, 30.0) <= longest and attempts > 1:
        assert waits[0] == min(first, 30.0)
