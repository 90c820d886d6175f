"""How processes watch one another: the options of a start, what is compared, whose launcher is gone."""

import os
import threading

import pytest
import tiny_recipe
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cnas.errors import ProcessGroupError, UserError
from cnas.training import SearchArguments
from cnas.training.context import LAUNCHED, StopSignal
from cnas.training.distributed import collective_errors, digests, first_difference

SETTINGS = settings(derandomize=True, deadline=None, max_examples=50)
DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.int64, torch.bool)


@pytest.mark.parametrize(
    ("field", "value", "word"),
    [
        ("check_ranks", 0, "at least 1 or none"),
        ("check_ranks", -3, "at least 1 or none"),
        ("ddp_timeout", 0.5, "at least 1 second"),
        ("ddp_timeout", float("inf"), "finite"),
        ("ddp_timeout", float("nan"), "finite"),
    ],
)
def test_options_that_cannot_be_are_refused(field, value, word):
    with pytest.raises(UserError, match=f"^{field} must be .*{word}.*, got {value}$"):
        SearchArguments(**{field: value})


def test_flags_of_a_start():
    def arguments(*words):
        return tiny_recipe.parse(words)[0].trainer

    found = arguments("--check_ranks", "7", "--process-timeout", "30")
    assert (found.check_ranks, found.ddp_timeout) == (7, 30.0)
    assert found.check_ranks not in tiny_recipe.tiny().to_json()["trainer"].values()
    assert arguments("--check-ranks", "none").check_ranks is None
    with pytest.raises(UserError, match=r"^--check-ranks must be an integer or none, got 'often'$"):
        arguments("--check-ranks", "often")


def state(values, dtype):
    tensor = torch.tensor(values, dtype=torch.float64).to(dtype)
    return {"model": {"a": tensor, "b": torch.zeros(())}, "history": [1.5, None, "x"], "optimizer": {0: (tensor,)}}


@SETTINGS
@given(st.lists(st.integers(-9, 9), min_size=1, max_size=6), st.sampled_from(DTYPES), st.data())
def test_one_bit_of_one_tensor_is_a_difference(values, dtype, data):
    mine, other = state(values, dtype), state(values, dtype)
    assert first_difference([dict(digests(mine)), dict(digests(other))]) is None
    bits = other["model"]["a"].view(torch.uint8)
    place = data.draw(st.integers(0, len(bits) - 1))
    bits[place] ^= 1
    assert "process 1 has another model.a" in str(first_difference([dict(digests(mine)), dict(digests(other))]))


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda tree: tree["history"].append(2.0), "history.3"),
        (lambda tree: tree["model"].pop("b"), "model.b"),
        (lambda tree: tree["model"].update(b=torch.zeros(1)), "model.b"),
        (lambda tree: tree["model"].update(b=torch.zeros((), dtype=torch.float64)), "model.b"),
        (lambda tree: tree["model"].update(b=-torch.zeros(())), "model.b"),
    ],
)
def test_length_shape_dtype_and_sign_of_zero_count(change, name):
    mine, other = state([1, 2], torch.float32), state([1, 2], torch.float32)
    change(other)
    found = [dict(digests(tree)) for tree in (mine, mine, other)]
    assert first_difference(found) == f"process 2 has another {name} than process 0"


def test_what_each_process_has_for_itself_is_not_compared():
    trees = [{"rows": rows, "position": {"step": 3, "seconds": float(rows)}} for rows in (0, 5)]
    assert first_difference([dict(digests(tree)) for tree in trees]) is None
    assert [name for name, _ in digests(trees[0])] == ["position.step"]


def test_a_failed_exchange_is_one_line_and_lack_of_memory_stays_what_it_is():
    with (
        pytest.raises(ProcessGroupError, match=r"is stuck \(Connection closed by peer \[127.0.0.1\]:7\); .* --resume$"),
        collective_errors(),
    ):
        raise RuntimeError("[/some/file.cc:553] Connection closed by peer [127.0.0.1]:7. See the logs.\nMore")
    with pytest.raises(torch.OutOfMemoryError), collective_errors():
        raise torch.OutOfMemoryError("no memory")


def test_only_a_launcher_is_watched(monkeypatch):
    def watching():
        return [thread for thread in threading.enumerate() if thread.name == "launcher-watch"]

    monkeypatch.delenv(LAUNCHED, raising=False)
    with StopSignal().on_launcher_exit():
        assert not watching()
    monkeypatch.setenv(LAUNCHED, "1")
    with StopSignal().on_launcher_exit():
        (thread,) = watching()
    thread.join(60)
    assert not thread.is_alive()


def test_a_launcher_that_is_gone_is_a_request_to_stop(monkeypatch):
    monkeypatch.setenv(LAUNCHED, "1")
    parents = iter([7, 7])
    monkeypatch.setattr(os, "getppid", lambda: next(parents, 1))
    stop = StopSignal()
    with stop.on_launcher_exit():
        deadline = threading.Event()
        for _ in range(3000):
            if stop.reason is not None:
                break
            deadline.wait(0.1)
    assert stop.reason == "the end of its launcher"
