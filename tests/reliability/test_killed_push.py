"""A push that is killed at some request is finished by the same command, as if nothing had been."""

import signal
import time

import pytest
from launching import Launched
from made_run import make_run
from pushing import REPO, push
from stub import running

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>' to upload raw:DeprecationWarning")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("made") / "run")


def killed(run, out, hub, requests):
    """Whether a push died when the Hub had seen so many requests."""
    pushing = Launched(out, push, run, hub.url)
    while len(hub.seen) < requests and pushing.process.is_alive():
        time.sleep(0.0005)
    pushing.process.kill()
    return pushing.wait().code == -signal.SIGKILL


def test_a_push_that_was_killed_is_finished_by_the_same_command(run, tmp_path, budget, measured):
    with running() as hub:
        push(run, hub.url)
        whole, requests = hub.files(REPO), len(hub.seen)
    died, begun = 0, 0
    for count in range(1, requests, budget(4, 1)):
        with running() as hub:
            died += killed(run, tmp_path / "out", hub, count)
            there = hub.files(REPO) if ("models", REPO) in hub.store.repositories else {}
            assert all(whole[name] == data for name, data in there.items())
            # The model is there whole, or not at all.
            assert not there or there.keys() >= {"config.json", "model.safetensors"}
            begun += bool(there)
            push(run, hub.url)
            assert hub.files(REPO) == whole
            titles = hub.store.repositories["models", REPO].titles
            assert len(set(titles)) == len(titles), titles
    assert died >= 2
    measured(f"{died} of {died} killed pushes ({begun} with the model there already) ended in one and the same tree")
