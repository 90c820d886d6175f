"""Callbacks of transformers in both loops: what they see, what they may ask for, and that a kill changes nothing."""

import json
import math

import pytest
import test_retrain
import torch
from builders import bits, build_session, build_trainer, rows
from launching import launch_ranks
from transformers import EarlyStoppingCallback, TrainerCallback
from transformers.trainer_callback import ExportableState

from cnas.curricula import Uncertainty
from cnas.errors import Stopped, UserError
from cnas.training import RetrainArguments, SearchArguments
from cnas.training.callbacks import describe

STEPS = 7
"""Of an epoch."""


class KilledError(Exception):
    """Stands in for a SIGKILL."""


def search(folder, callbacks=(), **config):
    return build_trainer(build_session(folder), Uncertainty(num_candidates=2), callbacks=callbacks, **config)


def retraining(folder, callbacks=(), **config):
    return test_retrain.build(folder, callbacks=callbacks, **{"num_train_epochs": 3, "average_from": 2} | config)


KINDS = {"search": search, "retrain": retraining}
both = pytest.mark.parametrize("kind", KINDS)


class Heard(TrainerCallback):
    """Notes every event with where the loop was."""

    def __init__(self):
        self.events = []

    def __getattribute__(self, name):
        if not name.startswith("on_"):
            return super().__getattribute__(name)

        def note(args, state, control, **more):
            found = more.get("metrics", more.get("logs"))
            self.events.append((name.removeprefix("on_"), state.global_step, state.epoch, found))
            assert more["model"] is not None
            assert more["optimizer"].param_groups

        return note


class At(TrainerCallback):
    """Sets one switch of the control in one event of one step."""

    def __init__(self, event, step, switch):
        self.step, self.switch = step, switch
        setattr(self, event, self._set)

    def _set(self, args, state, control, **_):
        if state.global_step == self.step:
            setattr(control, self.switch, True)


@both
def test_the_events_come_in_order_and_with_the_numbers_of_the_rows(tmp_path, kind):
    heard = Heard()
    loop = KINDS[kind](tmp_path, [heard], num_train_epochs=2, save_steps=5)
    loop.train()
    steps = [name for name, *_ in heard.events]
    epoch = ["epoch_begin", *["step_begin", "step_end"] * STEPS, "epoch_end", "evaluate", "log", "save"]
    plain = [name for place, name in enumerate(steps) if name != "save" or steps[place - 1] == "log"]
    assert plain == ["train_begin", *epoch, *epoch, "train_end"]
    assert [step for name, step, *_ in heard.events if name == "save"] == [0, 5, STEPS, 10, 2 * STEPS]
    first, second = (found for name, *_, found in heard.events if name == "evaluate")
    for metrics, row in zip((first, second), rows(tmp_path), strict=True):
        assert metrics == {"eval_loss": row["valid_loss"], "eval_perplexity": row["valid_perplexity"]}
    logs = [found for name, *_, found in heard.events if name == "log"]
    assert [log["train_loss"] for log in logs] == [row["train_loss"] for row in rows(tmp_path)]
    assert [epoch for name, _, epoch, _ in heard.events if name == "step_end"][:2] == [1 / STEPS, 2 / STEPS]
    history = loop.callbacks.state.log_history
    assert [entry["eval_loss"] for entry in history if "eval_loss" in entry] == [
        first["eval_loss"],
        second["eval_loss"],
    ]
    assert not any("seconds" in name for entry in history for name in entry)


@both
@pytest.mark.parametrize(
    ("event", "at", "ends"),
    [("on_step_begin", 2, 3), ("on_step_end", 3, 4), ("on_step_end", STEPS, STEPS), ("on_epoch_begin", 0, 1)],
)
def test_a_stop_in_a_step_ends_the_training_after_it_or_the_next_one(tmp_path, kind, event, at, ends):
    loop = KINDS[kind](tmp_path, [At(event, at, "should_training_stop")])
    result = loop.train()
    (row,) = rows(tmp_path)
    assert (row["step"], row["epoch"]) == (ends, 1)
    assert math.isfinite(row["valid_loss"])
    if kind == "search":
        assert (result.epochs, result.steps) == (1, ends)
        assert loop.parts.space.parse(result.architecture.to_str()) == result.architecture


@both
@pytest.mark.parametrize("event", ["on_epoch_end", "on_evaluate", "on_log"])
def test_a_stop_after_an_epoch_ends_the_training_there(tmp_path, kind, event):
    loop = KINDS[kind](tmp_path, [At(event, 2 * STEPS, "should_training_stop")])
    loop.train()
    assert [row["epoch"] for row in rows(tmp_path)] == [1, 2]
    again = KINDS[kind](tmp_path)
    assert again.resume()
    again.train()
    assert [row["epoch"] for row in rows(tmp_path)] == [1, 2]


@both
@pytest.mark.parametrize(("event", "at", "saved"), [("on_step_begin", 2, 3), ("on_step_end", 2, 3)])
def test_a_save_is_written_after_the_step(tmp_path, kind, event, at, saved):
    heard = Heard()
    KINDS[kind](tmp_path, [At(event, at, "should_save"), heard], num_train_epochs=1).train()
    assert [step for name, step, *_ in heard.events if name == "save"] == [0, saved, STEPS]


class Counting(TrainerCallback, ExportableState):
    """Counts steps and asks for a save at every third."""

    def __init__(self, every=3):
        self.every, self.steps, self.epochs = every, 0, 0

    def on_epoch_begin(self, args, state, control, **_):
        self.epochs += 1

    def on_step_end(self, args, state, control, **_):
        self.steps += 1
        control.should_save = self.steps % self.every == 0

    def state(self):
        return {"args": {"every": self.every}, "attributes": {"steps": self.steps, "epochs": self.epochs}}


class WithStateDict(TrainerCallback):
    """Keeps what it has heard, as a module would."""

    def __init__(self):
        self.losses = []

    def on_evaluate(self, args, state, control, metrics=None, **_):
        self.losses.append(metrics["eval_loss"])

    def state_dict(self):
        return {"losses": self.losses}

    def load_state_dict(self, state):
        self.losses = list(state["losses"])


LOSSES = [5.0, 4.0, 4.5, 4.25, 4.125, 4.0]


def early(kind, folder):
    """A loop that early stopping ends after epoch 4 of 6."""
    callbacks = [EarlyStoppingCallback(early_stopping_patience=2), Counting(), WithStateDict()]
    if kind == "search":
        loop = search(folder, callbacks, num_train_epochs=6)
        loop._validation = lambda architectures, index=None: torch_losses(loop, len(architectures))
    else:
        loop = retraining(folder, callbacks, num_train_epochs=6, nonmonotone=None, average_from=3)
        loop.validate = lambda _: {"valid_loss": LOSSES[loop.progress.epoch]}
    return loop


def torch_losses(loop, count):
    return torch.full((count,), LOSSES[min(loop.progress.epoch, 5)], dtype=torch.float64)


def left(loop):
    loop.train()
    state = loop.callbacks.state
    return bits(loop), rows(loop.context.folder), state.best_metric, state.best_global_step


@both
def test_early_stopping_killed_anywhere_and_resumed_is_the_uninterrupted_run(tmp_path, kind):
    whole = left(early(kind, tmp_path / "whole"))
    assert [row["valid_loss"] for row in whole[1]] == LOSSES[:4]
    assert whole[2:] == (4.0, 2 * STEPS)
    for step in (2, 3, STEPS, STEPS + 4, 3 * STEPS + 6, 4 * STEPS - 1):
        folder = tmp_path / str(step)
        loop = early(kind, folder)
        original = loop.weight_step

        def killed(*args, loop=loop, step=step, original=original):
            found = original(*args)
            if loop.progress.step == step:
                raise KilledError
            return found

        loop.weight_step = killed
        with pytest.raises(KilledError):
            loop.train()
        again = early(kind, folder)
        assert again.resume()
        assert left(again) == whole, step


@both
def test_a_signal_at_the_step_of_a_callbacks_stop_is_resumed_to_the_same_end(tmp_path, kind):
    def begun(folder):
        return KINDS[kind](folder, [At("on_step_end", 3, "should_training_stop")])

    whole = left(begun(tmp_path / "whole"))
    for step in (3, 4):
        loop = begun(tmp_path / str(step))
        original = loop.train_step

        def stopping(index, loop=loop, step=step, original=original):
            if loop.progress.step + 1 == step:
                loop.context.stop.request("a test")
            return original(index)

        loop.train_step = stopping
        with pytest.raises(Stopped):
            loop.train()
        again = KINDS[kind](tmp_path / str(step))
        assert again.resume()
        assert left(again) == whole, step


def test_a_callback_that_is_gone_is_named(tmp_path, capsys):
    retraining(tmp_path, [Counting()], num_train_epochs=1).train()
    assert retraining(tmp_path, num_train_epochs=1).resume()
    assert "saved with a callback Counting, which is not here now" in capsys.readouterr().out


def test_the_best_weights_are_those_of_the_metric(tmp_path):
    losses, scores = [3.0, 1.0, 2.0], iter([0.0, 0.5, 0.25, 0.75])  # the first of the new network
    loop = retraining(tmp_path, cls=test_retrain.Recorder, metric_for_best_model="score", nonmonotone=9)
    loop.validate = lambda _: {"valid_loss": losses[loop.progress.epoch], "valid_score": next(scores)}
    kept = []
    original = loop.finish_epoch
    loop.finish_epoch = lambda: (original(), kept.append(loop.best))[0]
    loop.train()
    assert kept[1] is kept[0]
    assert kept[2] is not kept[0]
    assert loop.callbacks.state.best_metric == 0.75


def test_without_validation_the_last_weights_stay(tmp_path):
    loop = retraining(tmp_path, cls=test_retrain.Recorder, eval_strategy="no", nonmonotone=None, average_from=None)
    network = loop.train()
    assert (test_retrain.weights(network) == loop.iterates[-1]).all()
    assert loop.validated == []
    assert not any(name.startswith("valid") for row in rows(tmp_path) for name in row)


def test_the_last_weights_may_be_kept_with_validation(tmp_path):
    loop = test_retrain.build(
        tmp_path, [1.0, 2.0, 3.0], cls=test_retrain.Recorder, num_train_epochs=3, load_best_model_at_end=False
    )
    assert (test_retrain.weights(loop.train()) == loop.iterates[-1]).all()


@pytest.mark.parametrize(
    ("make", "fields", "message"),
    [
        (SearchArguments, {"load_best_model_at_end": True}, "^load_best_model_at_end must be off in a search: "),
        (SearchArguments, {"eval_strategy": "no"}, "^eval_strategy must be epoch in a search"),
        (RetrainArguments, {"eval_strategy": "no", "nonmonotone": 3}, "^nonmonotone must be none without validation"),
        (
            RetrainArguments,
            {"eval_strategy": "no", "load_best_model_at_end": True},
            "^load_best_model_at_end must be false without validation",
        ),
    ],
)
def test_what_excludes_itself_is_one_line(make, fields, message):
    with pytest.raises(UserError, match=message) as caught:
        make(**fields)
    assert "\n" not in str(caught.value)


def test_without_validation_the_defaults_give_way():
    found = RetrainArguments(eval_strategy="no")
    assert (found.nonmonotone, found.load_best_model_at_end) == (None, False)


def test_a_metric_that_nobody_computes_is_named_before_anything_is_trained(tmp_path):
    message = "metric_for_best_model of the {} must be one of loss, perplexity, got 'accurcy'"
    with pytest.raises(UserError, match=message.format("search")):
        search(tmp_path / "search", metric_for_best_model="accurcy")
    loop = retraining(tmp_path / "retrain", metric_for_best_model="accurcy")
    with pytest.raises(UserError, match=message.format("retrain")):
        loop.train()
    assert loop.progress.step == 0


@pytest.mark.parametrize(("name", "more"), [("loss", False), ("perplexity", False), ("eval_accuracy", True)])
def test_more_is_better_unless_the_name_says_otherwise(tmp_path, name, more):
    loop = retraining(tmp_path, metric_for_best_model=name)
    assert loop.callbacks.config.greater_is_better is more
    assert retraining(tmp_path, metric_for_best_model=name, greater_is_better=True).callbacks.config.greater_is_better


def test_a_line_of_an_epoch():
    row = {"phase": "retrain", "epoch": 2, "train_loss": 0.5, "valid_accuracy": 12.25, "averaged": True}
    assert describe(row, 4) == "retrain 2/4  train loss 0.500  valid accuracy 12.25 %"


def asked_by_one(out):
    """A search of two processes in which the second one alone asks for a save, and then for the end."""
    asked = [At("on_step_end", 1, "should_save"), At("on_step_end", 3, "should_training_stop")]
    context = build_session(out / "run", cpu=True)
    assert context.processes.world == 2
    heard = Heard()
    loop = search(out / "run", [heard, *([] if context.accelerator.is_main_process else asked)], algorithm="rsps")
    result = loop.train()
    saves = [step for name, step, *_ in heard.events if name == "save"]
    found = {"steps": result.steps, "saves": saves, "ended": loop.ended, "bits": len(bits(loop))}
    (out / f"{context.accelerator.process_index}.json").write_text(json.dumps(found), "utf-8")
    context.accelerator.end_training()
    return 0


@pytest.mark.distributed
def test_what_a_callback_of_one_process_asks_for_all_do(tmp_path):
    for ended in [rank.wait() for rank in launch_ranks(tmp_path, 2, asked_by_one, tmp_path)]:
        assert ended.code == 0, ended.err
    one, other = (json.loads((tmp_path / f"{rank}.json").read_text("utf-8")) for rank in range(2))
    assert one == other
    assert (one["steps"], one["saves"], one["ended"]) == (4, [0, 2, 4], True)
