"""How long a search says it took, over all parts of it."""

import pytest
from builders import build_session, build_trainer

EPOCHS, STEPS = 2, 7


class Clock:
    """Time that passes where it is told to."""

    now = 0.0

    def perf_counter(self):
        return self.now

    def takes(self, seconds, function):
        """``function``, taking so long."""

        def call(*args, **kwargs):
            self.now += seconds
            return function(*args, **kwargs)

        return call


def test_the_seconds_are_those_of_steps_passes_and_derivation_in_all_parts(tmp_path, monkeypatch):
    clock = Clock()
    monkeypatch.setattr("cnas.training.loop.time", clock)

    def timed(folder):
        trainer = build_trainer(build_session(folder), None, num_train_epochs=EPOCHS, save_steps=2)
        trainer.train_step = clock.takes(1.0, trainer.train_step)
        trainer.algorithm.end_epoch = clock.takes(100.0, trainer.algorithm.end_epoch)
        trainer.algorithm.derive = clock.takes(1000.0, trainer.algorithm.derive)
        clock.now += 7777.0  # nobody's work
        return trainer

    assert timed(tmp_path / "whole").train().seconds == 2 * STEPS + 200 + 1000
    trainer = timed(tmp_path / "killed")

    step = trainer.train_step

    def killed(index):
        stop = step(index)
        if index == STEPS - 2:
            raise KeyboardInterrupt
        return stop

    trainer.train_step = killed
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    trainer = timed(tmp_path / "killed")
    assert trainer.resume()
    # The step that was lost is done again, and counts once.
    assert trainer.train().seconds == 2 * STEPS + 200 + 1000
