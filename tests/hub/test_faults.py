"""A Hub that refuses, is busy or breaks off: what is tried again, what a push says, and that it can be finished."""

import re
import time
from types import SimpleNamespace

import pytest
from huggingface_hub import HfApi
from huggingface_hub.utils import _http
from stub import Fault

from cnas.errors import PushError
from cnas.hub.push import push_run

# `huggingface_hub` uploads large files in a way that its own HTTP client advises against.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>' to upload raw:DeprecationWarning")
REPO = "owner/found"
TITLES = ["Add the model", "Add the card and what was measured"]


@pytest.fixture
def waits(monkeypatch):
    """Seconds that `huggingface_hub` would have waited before it tried again."""
    found = []
    monkeypatch.setattr(_http, "time", SimpleNamespace(sleep=found.append, time=time.time))
    return found


@pytest.fixture
def push(run, waits):
    def call(repo_id=REPO, **options):
        return push_run(run, repo_id, log=lambda line: None, **options)

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


def titles(hub):
    return hub.store.repositories["models", REPO].titles[1:]


def test_a_token_that_is_not_accepted_is_not_tried_again(hub, push, waits, monkeypatch):
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


@pytest.mark.parametrize("route", ["preupload", "batch", "put"])
def test_an_upload_is_tried_again_after_the_pause_that_the_hub_asks_for(hub, push, waits, route):
    hub.faults.append(Fault(route, 429, times=2, headers={"Retry-After": "7"}))
    push()
    assert len(waits) == 2
    assert min(waits) >= 7
    assert "README.md" in hub.files(REPO)


@pytest.mark.parametrize("route", ["create", "card", "commit"])
@pytest.mark.parametrize("status", [429, 503])
def test_a_request_that_might_be_done_twice_is_not_repeated_and_the_same_call_finishes(hub, push, route, status):
    hub.faults.append(Fault(route, status, times=1, headers={"Retry-After": "4000"}))
    assert f"the Hub answered {status}" in broken(push)
    push()
    assert titles(hub) == TITLES


def test_an_upload_that_fails_every_time_is_given_up(hub, push, waits):
    hub.faults.append(Fault("batch", 500))
    message = broken(push)
    assert "the Hub answered 500" in message
    assert lists(message)[0] == "nothing"
    assert lists(message)[1].startswith("config.json, generation_config.json, model.safetensors, ")
    assert len(waits) == hub.count("batch") - 1 == 5
    assert hub.files(REPO) == {}


def test_what_is_uploaded_and_what_is_left_is_true_and_the_rest_follows(hub, push):
    hub.faults.append(Fault("card", 502, body=b"<html>Bad Gateway</html>"))
    uploaded, left = lists(broken(push))
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


def test_a_connection_cut_amid_an_upload_is_gone_on_with_by_the_same_call(hub, push, run):
    hub.faults.append(Fault("put"))
    message = broken(push)
    assert re.search(r"the Hub is out of reach or broke off \(\w+Error", message)
    assert lists(message)[0] == "nothing"
    size = (run / "model" / "model.safetensors").stat().st_size
    assert {seen.size for seen in hub.seen if seen.route == "put"} == {size // 2}
    assert hub.files(REPO) == {}
    hub.faults.clear()
    push()
    assert hub.files(REPO)["model.safetensors"] == (run / "model" / "model.safetensors").read_bytes()
    assert "README.md" in hub.files(REPO)


def test_an_upload_that_is_cut_once_goes_through(hub, push, waits):
    hub.faults += [Fault("preupload", times=1), Fault("put", times=1)]
    push()
    assert len(waits) == 2
    assert titles(hub) == TITLES


@pytest.mark.parametrize("route", ["create", "commit"])
def test_an_answer_that_was_lost_is_no_second_commit(hub, push, route):
    hub.faults.append(Fault(route, times=1, after=True))
    assert "the Hub is out of reach or broke off" in broken(push)
    push()
    assert titles(hub) == TITLES


def test_a_large_file_that_arrived_is_not_sent_again(hub, push):
    hub.faults.append(Fault("commit", 500))
    broken(push)
    assert hub.count("put") == 1
    hub.faults.clear()
    push()
    sent = [seen.path for seen in hub.seen if seen.route == "put"]
    assert len(sent) == len(set(sent))


def test_an_interrupted_push_says_what_is_left(hub, run, monkeypatch):
    commit, said = HfApi.create_commit, []

    def interrupted(self, *args, **named):
        if named["commit_message"] == TITLES[1]:
            raise KeyboardInterrupt
        return commit(self, *args, **named)

    monkeypatch.setattr(HfApi, "create_commit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        push_run(run, REPO, log=said.append)
    (line,) = said
    assert "broke off: interrupted; uploaded: config.json" in line
    assert lists(line)[1].startswith("README.md, result.json")


def test_a_hub_that_is_not_there_is_said_in_one_line(hub, push):
    hub.server_close()
    hub.shutdown()
    assert "the Hub is out of reach or broke off (ConnectError" in broken(push)
