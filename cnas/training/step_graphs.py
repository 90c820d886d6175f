"""`StepGraphs`: forward, loss and backward of a step recorded once, and replayed in every other step.

A recurrent step is thousands of small operations, and starting them one by one takes longer than running them. A graph
starts them all at once. It reads and writes fixed memory: everything a step needs is copied there before, and what is
returned are copies. Time steps are compiled first, where Triton is there and so many steps follow that this pays.

What makes the recordings is in `cnas.training.cuda_graphs`. Where there is no CUDA, and with ``torch_compile="off"``,
nothing is recorded and every step is run as it is.

Legend: B rows, T tokens, H hidden units, K candidates, D dtype of products.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from cnas.random import HOST
from cnas.spaces.pure import PureForward, as_it_is
from cnas.types import Output

PAYS_FROM = 200
"""A loop of fewer steps than this is recorded, and not compiled: that takes some 15 seconds."""
BUFFER = "buffer "
Results = dict[str, Tensor | None]
Function = Callable[[Mapping[str, Tensor]], Results]
"""From fixed memory to the results, by name; it is recorded."""
Recording = Callable[[], Results]
"""Does again what was recorded; the results lie in the same memory each time."""
Record = Callable[[Function, Mapping[str, Tensor]], Recording]

# Reductions in one kernel each: they are small, and there are thousands. What changes a result is not chosen by
# measuring it, or another process, which a resumed run is, would choose otherwise.
OPTIONS = {"split_reductions": False, "shape_padding": False, "deterministic": True}


class Found(NamedTuple):
    """What a recorded step gives, each tensor the caller's own."""

    loss: Tensor
    """The mean loss, unweighted, a scalar."""
    hidden_state: Tensor | None
    gradients: dict[str, Tensor]
    """By the name that was asked for."""
    buffers: dict[str, Tensor]
    """By name, what buffers of the network become."""


@dataclass
class _Graph:
    """A recording and the memory it reads."""

    memory: dict[str, Tensor]
    replay: Recording

    def load(self, given: Mapping[str, Tensor]) -> None:
        """Copy into the memory; from host memory without waiting for the device."""
        by_dtype: dict[torch.dtype, list[str]] = {}
        for name, value in given.items():
            if value.device == self.memory[name].device:
                by_dtype.setdefault(value.dtype, []).append(name)
            else:
                self.memory[name].copy_(value.detach().contiguous().pin_memory(), non_blocking=True)
        for names in by_dtype.values():
            torch._foreach_copy_([self.memory[name] for name in names], [given[name].detach() for name in names])


@dataclass
class StepGraphs:
    """Records steps, and replays them.

    Args:
        device: of the weights.
        dtype: of products; None where they are those of the weights, exactly.
        recorder: makes what makes recordings, once a loop; None where every step is run as it is.
        compiles: whether time steps may be compiled.
        log: prints a line.
    """

    device: torch.device = HOST
    dtype: torch.dtype | None = None
    recorder: Callable[[], Record] | None = None
    compiles: bool = False
    log: Callable[[str], None] = print
    steps: int = 0
    """So many steps the loop at work has: a number that a resumed run knows too."""
    problems: list[str] = field(default_factory=list)
    """Why something was run as it is after all."""
    _record: Record | None = field(default=None, repr=False)
    _graphs: dict[Hashable, _Graph | None] = field(default_factory=dict, repr=False)
    _memory: dict[Hashable, Tensor] = field(default_factory=dict, repr=False)
    _compiled: dict[Callable[..., Any], Callable[..., Any]] = field(default_factory=dict, repr=False)
    _recordings: int = 0
    _seconds: float = 0.0
    _logged: bool = False
    _plainly: bool = False

    @property
    def active(self) -> bool:
        """Whether anything is recorded."""
        return self.recorder is not None

    def remarks(self) -> list[str]:
        """What a run says of it before it starts."""
        if not self.active:
            return []
        compiled = f", compiled where a loop has {PAYS_FROM} or more" if self.compiles else ""
        return [f"torch_compile is on: steps that can be are recorded as CUDA graphs{compiled}"]

    def describe(self) -> dict[str, Any]:
        """What was done, as ``result.json`` has it under ``environment``."""
        found: dict[str, Any] = {"torch_compile": "on" if self.active else "off"}
        if self._recordings:
            found |= {"graphs": self._recordings, "graph_seconds": round(self._seconds, 1)}
        return found | ({"graph_problems": self.problems} if self.problems else {})

    def reset(self, steps: int) -> None:
        """Give back all memory: a loop of so many steps is next, with another network."""
        self.steps, self._record, self._logged, self._plainly = steps, None, False, False
        self._graphs.clear()
        self._memory.clear()

    def losses(
        self, forward: PureForward | None, weights: Mapping[str, Tensor], *, exact: bool = False
    ) -> Output | None:
        """The output of a pure forward, without gradient.

        Args:
            forward: None where there is none.
            weights: of the network, by their names.
            exact: whether products are made in the dtype of the weights, whatever ``dtype`` is.

        Returns:
            None where the step is to be run as it is.
        """
        if not self.active or forward is None:
            self.note_eager()
            return None
        dtype = None if exact else self.dtype

        @torch.no_grad()
        def function(memory: Mapping[str, Tensor]) -> Results:
            output = forward.function(memory, self._compile, dtype)
            return {"losses": output.losses, "state": output.hidden_state, "penalty": output.penalty}

        if (found := self._run(("losses", forward.key, dtype), function, _read(forward, weights))) is None:
            return None
        return Output(cast(Tensor, found["losses"]), None, found["state"], cast(Tensor, found["penalty"]))

    def gradients(
        self,
        forward: PureForward | None,
        weights: Mapping[str, Tensor],
        factor: Tensor,
        *,
        wanted: Sequence[str],
        v: Tensor | None = None,
        penalised: bool = False,
    ) -> Found | None:
        """The mean loss of a batch and its gradients.

        Args:
            forward: None where there is none.
            weights: of the network, by their names.
            factor: scalar in float64, what the loss is multiplied by before the backward pass.
            wanted: names of weights, and of the forward's tensors. A gradient that does not exist is left out.
            v: what every loss is multiplied by before the mean.
            penalised: whether the regularisers are part of the loss.

        Returns:
            None where the step is to be run as it is.
        """
        if not self.active or forward is None:
            self.note_eager()
            return None
        slots = {name: slot for slot, name in forward.weights.items()} | {name: name for name in forward.tensors}
        names = [name for name in wanted if name in slots]
        read = [slots[name] for name in names]

        def function(memory: Mapping[str, Tensor]) -> Results:
            leaves = {slot: memory[slot].detach().requires_grad_() for slot in read}
            output = forward.function({**memory, **leaves}, self._compile, self.dtype)
            losses = output.losses if v is None else output.losses * memory["v"]
            loss = losses.mean() + output.penalty if penalised else losses.mean()
            scaled = loss * memory["factor"].to(loss.dtype)
            found = torch.autograd.grad(scaled, [leaves[slot] for slot in read], allow_unused=True)
            moved = {f"{BUFFER}{name}": buffer for name, buffer in output.buffers.items()}
            own = {"loss": output.losses.mean(), "state": output.hidden_state} | moved
            return dict(zip(read, found, strict=True)) | {
                name: None if each is None else each.detach() for name, each in own.items()
            }

        given = _read(forward, weights) | {"factor": factor} | ({} if v is None else {"v": v})
        found = self._run(("gradients", forward.key, tuple(read), penalised), function, given)
        if found is None:
            return None
        # By slot: another path has other names in the same places.
        known = {name: value for name, slot in zip(names, read, strict=True) if (value := found[slot]) is not None}
        used = {name: value for name, value in known.items() if slots[name] not in forward.unused}
        moved = {name.removeprefix(BUFFER): value for name, value in found.items() if name.startswith(BUFFER)}
        return Found(cast(Tensor, found["loss"]), found["state"], used, cast(dict[str, Tensor], moved))

    def note_eager(self) -> None:
        """Log once a loop that a step is run as it is where others are recorded."""
        if self.active and not self._logged:
            self.log("torch_compile: some steps of this loop are not recorded but run as they are")
            self._logged = True

    def _run(self, key: Hashable, function: Function, given: Mapping[str, Tensor]) -> Results | None:
        full = key, tuple((name, value.shape, value.dtype) for name, value in given.items())
        if full not in self._graphs:
            self._graphs[full] = self._recorded(function, given)
        if (graph := self._graphs[full]) is None:
            return None
        graph.load(given)
        return {name: None if each is None else each.clone() for name, each in graph.replay().items()}

    def _recorded(self, function: Function, given: Mapping[str, Tensor]) -> _Graph | None:
        assert self.recorder is not None
        begun = time.perf_counter()
        self._record = self._record or self.recorder()
        graph = _Graph({name: self._place(name, value) for name, value in given.items()}, dict)
        graph.load(given)
        try:
            graph.replay = self._record(function, graph.memory)
        except Exception as problem:
            self.problems.append(f"{type(problem).__name__}: {' '.join(str(problem).split())[:200]}")
        else:
            self._recordings += 1
            return graph
        finally:
            self._seconds += time.perf_counter() - begun
        # Out of the handler, which keeps what the failed try has left in memory.
        compiled, self._plainly, self._record = self._pays, True, None
        instead = "recorded without compiling" if compiled else "run as it is"
        self.log(f"warning: a step could not be recorded and is {instead}: {self.problems[-1]}")
        return self._recorded(function, given) if compiled else None

    def _place(self, name: str, value: Tensor) -> Tensor:
        """Memory for a tensor, the same for all recordings: every replay copies all it reads there first."""
        key = name, value.shape, value.dtype
        if key not in self._memory:
            self._memory[key] = torch.empty_like(value, device=self.device)
        return self._memory[key]

    @property
    def _pays(self) -> bool:
        return self.compiles and not self._plainly and self.steps >= PAYS_FROM

    def _compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, compiled where that pays."""
        if not self._pays:
            return as_it_is(function)
        if function not in self._compiled:
            self._compiled[function] = torch.compile(function, fullgraph=True, dynamic=False, options=dict(OPTIONS))
        return self._compiled[function]


def _read(forward: PureForward, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All that a pure forward reads, by its own names."""
    return {**forward.tensors, **{slot: weights[name] for slot, name in forward.weights.items()}}
