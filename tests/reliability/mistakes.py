"""What a mistake against a law is, and mistakes that take more than another text in one function."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
from mutating import source_changed

from cnas.algorithms.gdas import GDAS
from cnas.curricula import Curriculum
from cnas.errors import Stopped, UserError
from cnas.training import Retrainer, SearchLoop
from cnas.training.bilevel import Bilevel
from cnas.training.loop import AccelerateLoop
from cnas.training.metrics_log import MetricsLog


@dataclass(frozen=True)
class Mistake:
    """A mistake against a law.

    Args:
        law: what must hold.
        test: what fails.
        place: ``module:name`` of the function that is changed; empty where ``patched`` is given.
        changes: from each text in it to what replaces it.
        patched: makes the mistake in another way.
        slow: whether it is for the long tests.
    """

    law: str
    test: str
    place: str = ""
    changes: tuple[tuple[str, str], ...] = ()
    patched: Callable[[], AbstractContextManager[Any]] | None = None
    slow: bool = False

    @property
    def name(self) -> str:
        """Of the case."""
        mistake = self.patched.__name__ if self.patched else f"{self.place.partition(':')[2]} {self.changes[0][1]}"
        return f"{self.law}: {mistake}".replace("[", "(").replace("]", ")")

    def made(self) -> AbstractContextManager[Any]:
        """The mistake, while the context lasts."""
        return self.patched() if self.patched else source_changed(self.place, dict(self.changes))


def resumed_without(cls: type, **values: Any) -> AbstractContextManager[Any]:
    """A resume that reads ``values`` in place of what the checkpoint holds under their names."""
    original = cls.load_state  # type: ignore[attr-defined]

    def load_state(self: Any, state: dict[str, Any]) -> None:
        found = {name: value(state[name]) if callable(value) else value for name, value in values.items()}
        original(self, state | found)

    return patch.object(cls, "load_state", load_state)


def weights_of_the_data_forgotten() -> AbstractContextManager[Any]:
    """v starts at 1 again."""
    return patch.object(Curriculum, "load_state_dict", lambda self, state: None)


def policy_forgotten() -> AbstractContextManager[Any]:
    """The controller, its optimiser and the baseline are those of a new algorithm."""

    def load_state(self: SearchLoop, state: dict[str, Any]) -> None:
        original(self, state | {"algorithm": self.algorithm.state_dict()})

    original = SearchLoop.load_state
    return patch.object(SearchLoop, "load_state", load_state)


def baseline_forgotten() -> AbstractContextManager[Any]:
    """REINFORCE's moving average starts anew."""
    return resumed_without(
        SearchLoop,
        algorithm=lambda saved: {
            name: torch.zeros_like(value) if "baseline" in name else value for name, value in saved.items()
        },
    )


def temperature_forgotten() -> AbstractContextManager[Any]:
    """τ is that of a new algorithm."""
    original = GDAS.load_state_dict

    def load_state_dict(self: GDAS, state: dict[str, Any]) -> Any:
        return original(self, dict(state) | {"temperature": self.temperature.clone()})

    return patch.object(GDAS, "load_state_dict", load_state_dict)


def position_in_the_streams_forgotten() -> AbstractContextManager[Any]:
    """A resumed epoch starts with a state of zeros."""
    return resumed_without(SearchLoop, carry=None)


def trigger_of_averaging_forgotten() -> AbstractContextManager[Any]:
    """The validation losses that decide when averaging starts are gone, and so is when it did."""
    return resumed_without(Retrainer, averaging_since=None, optimizer=lambda _: {"state": {}, "param_groups": []})


def best_weights_forgotten() -> AbstractContextManager[Any]:
    """What is saved as the best network is the one of the last epochs."""
    return resumed_without(Retrainer, history=lambda _: [])


def rows_are_not_cut_back() -> AbstractContextManager[Any]:
    """The log keeps rows that the checkpoint has not counted."""
    return patch.object(MetricsLog, "truncate", lambda self, rows: None)


def curriculum_without_effect() -> AbstractContextManager[Any]:
    """The weights are learned and never used."""
    return patch.object(Curriculum, "weights", lambda self, unit_ids: torch.ones(unit_ids.shape))


def rewards_weighed_too() -> AbstractContextManager[Any]:
    """What the architecture learns from is multiplied by the largest v."""
    original = SearchLoop._validation

    def _validation(self: SearchLoop, *arguments: Any) -> torch.Tensor:
        return original(self, *arguments) * self.curriculum.v.max().double()

    return patch.object(SearchLoop, "_validation", _validation)


def bad_input_ends_with_1() -> AbstractContextManager[Any]:
    """As every other error does."""
    return patch.object(UserError, "exit_code", 1)


def stop_ends_with_1() -> AbstractContextManager[Any]:
    """As an error does."""
    return patch.object(Stopped, "exit_code", 1)


def inner_loss_weighed() -> AbstractContextManager[Any]:
    """The unrolled weight step follows the weighted loss, whatever the algorithm asks for."""
    original = Bilevel.gradients

    def gradients(self: Bilevel, *arguments: Any, **options: Any) -> Any:
        return original(self, *arguments, **options | {"weighted": True})

    return patch.object(Bilevel, "gradients", gradients)


def state_kept(change: Callable[[Any], Any]) -> AbstractContextManager[Any]:
    """What a loop keeps of its hidden state is changed."""

    def kept(self: Any, value: Any) -> None:
        self.__dict__["hidden state"] = change(value) if isinstance(value, torch.Tensor) else value

    return patch.object(
        AccelerateLoop, "hidden_state", property(lambda self: self.__dict__.get("hidden state"), kept), create=True
    )


def state_lost() -> AbstractContextManager[Any]:
    """Every chunk starts with zeros."""
    return state_kept(lambda _: None)


def state_with_its_graph() -> AbstractContextManager[Any]:
    """A gradient would reach into the chunk before."""
    return state_kept(lambda value: value.requires_grad_())


def state_kept_over_epochs() -> AbstractContextManager[Any]:
    """The first chunk starts where the epoch before ended."""

    def kept(self: Any, value: Any) -> None:
        self.__dict__["hidden state"] = self.__dict__.get("hidden state") if value is None else value

    return patch.object(
        AccelerateLoop, "hidden_state", property(lambda self: self.__dict__.get("hidden state"), kept), create=True
    )
