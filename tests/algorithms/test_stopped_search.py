"""A search of any algorithm that is stopped amid an epoch, or amid what follows one, goes on as if it had not been."""

from __future__ import annotations

import pytest
from builders import bits, build_session, build_space, build_trainer, rows

from cnas.curricula import Uncertainty
from cnas.errors import Stopped
from cnas.training import SearchLoop

JUDGED = Uncertainty(num_candidates=2, refresh="step")


def build(folder, name, space):
    return build_trainer(build_session(folder), JUDGED, space=build_space(space), algorithm=name, num_train_epochs=3)


def left(trainer):
    return trainer.train().architecture, bits(trainer), rows(trainer.context.folder)


@pytest.fixture(
    scope="module",
    params=[("gdas", "darts_rnn"), ("setn", "enas_rnn"), ("spos", "nats"), ("rsps", "nats"), ("darts_v2", "enas_rnn")],
    ids="-".join,
)
def uninterrupted(request, tmp_path_factory):
    """(algorithm, space, what a whole search leaves)."""
    return *request.param, left(build(tmp_path_factory.mktemp("whole"), *request.param))


@pytest.mark.parametrize("stop_at", [pytest.param(3, marks=pytest.mark.cross), 10, 14])
def test_it_goes_on_exactly(tmp_path, uninterrupted, stop_at):
    name, space, whole = uninterrupted
    trainer, calls = build(tmp_path / "run", name, space), []

    def forward(batch, routing):
        calls.append(None)
        if len(calls) == stop_at:
            trainer.context.stop.request("a test")
        return SearchLoop.forward(trainer, batch, routing)

    trainer.forward = forward
    with pytest.raises(Stopped):
        trainer.train()
    assert trainer.progress.step == stop_at
    resumed = build(tmp_path / "run", name, space)
    assert resumed.resume()
    assert left(resumed) == whole


def test_an_evolution_that_is_stopped_is_done_again(tmp_path):
    whole = left(build(tmp_path / "whole", "spos", "enas_rnn"))
    trainer = build(tmp_path / "run", "spos", "enas_rnn")
    trainer.run()
    trainer.context.stop.request("a test")
    with pytest.raises(Stopped, match=r"^stopped by a test at step \d+ of the search; go on with --resume$"):
        trainer.train()
    resumed = build(tmp_path / "run", "spos", "enas_rnn")
    assert resumed.resume()
    assert left(resumed) == whole
