"""Curriculum search: Algorithm 1 of Zhou et al. (2022) around any algorithm and any supernet.

A weight step runs the routing the algorithm chose on data that the curriculum has reweighted; after the epoch the
algorithm learns from unweighted validation losses, and K of its subnets score the training data anew. Without a
curriculum this is the plain algorithm, bit for bit: the curriculum draws from its own streams and scoring disturbs
nothing.

Legend: K candidates, B rows of the global batch, T tokens, U units.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ClassVar, cast

import torch
from torch import Tensor
from transformers import TrainerCallback

from cnas.algorithms.base import GROUP, SearchContext
from cnas.curricula import Progress
from cnas.data.base import OrderedBatches
from cnas.errors import NonFiniteError, Stopped
from cnas.metrics import perplexity
from cnas.random import HOST
from cnas.training.arguments import SearchArguments
from cnas.training.batch import Part, place, to_host
from cnas.training.bilevel import Bilevel, GradientOverflowError
from cnas.training.callbacks import Requests
from cnas.training.context import RunContext
from cnas.training.loop import AccelerateLoop
from cnas.training.scored import keep_losses, scored_points
from cnas.training.scoring import Scorer, unit_means
from cnas.training.search_parts import SearchParts, check_candidates, check_optimizer_fits, set_up
from cnas.training.weight_step import Pass, run_ahead
from cnas.types import Architecture, Batch, Output, Routing, SearchResult


class SearchLoop(AccelerateLoop):
    """Trains a supernet on reweighted data and derives an architecture.

    Args:
        parts: space, supernet, algorithm, curriculum and data.
        config: sizes of the loop.
        context: accelerator, run folder, seed.
        callbacks: called at the events of the loop.
        after_epoch: called before the first epoch, after each, and once more after the last, with the loop, how many
            are over and whether no more follow; it must not change the loop, and takes none of the search's time.

    Raises:
        UserError: K is above the number of architectures, or a supernet that normalises batches gets too small ones.
    """

    phase = "search"
    # Architecture steps go on in the validation data, where the hidden state that was saved is of another place.
    restarted: ClassVar[dict[str, Any]] = {"arch_carry": None}

    def __init__(
        self,
        parts: SearchParts,
        config: SearchArguments,
        context: RunContext,
        callbacks: Sequence[TrainerCallback] = (),
        after_epoch: Callable[[SearchLoop, int, bool], None] | None = None,
    ) -> None:
        if parts.curriculum:
            check_candidates(parts.curriculum, parts.algorithm, config)
        check_optimizer_fits(parts.algorithm, config)
        if parts.supernet.batch_statistics:
            config.check_whole_batches("trainer.", "supernet")
        super().__init__(parts.supernet, parts.train, config, context, callbacks)
        self.parts, self._after_epoch = parts, after_epoch
        self.callbacks.metric(dict.fromkeys(("eval_loss", f"eval_{self._figure}"), 0.0))
        self.algorithm = parts.algorithm  # In host memory: it is tiny, and every process draws the same routings there.
        self.curriculum = set_up(parts.curriculum, parts.train, context.seed, context.device)
        self.scorer = Scorer(parts.supernet, parts.space, context)
        self.bilevel = Bilevel(parts.supernet, parts.arch or parts.valid, config, context)

    def train(self) -> SearchResult:
        """Search to the end, from wherever the trainer is, and derive the architecture.

        Raises:
            Stopped, NonFiniteError, StorageError, ProcessGroupError: as `run`.
        """
        self.run()
        with self._afterwards():
            # Only now it is known which epoch was the last: a callback may end the training after any.
            self._call_after_epoch(self.progress.epoch, last=True)
            context, known = keep_losses(self.search_context("derive"))
            architecture, figures = self.algorithm.derive(context)
        at, trouble, front = self.progress, self.guard.trouble.counts, self.algorithm.front
        taken = (at.epoch, at.step, self.count_time())  # What is scored for pictures takes no time of the search.
        scored = scored_points(known, self.parts.space, self.validation_losses, context)
        return SearchResult(architecture, *taken, figures, trouble, front=front, scored=scored)

    def before_first_step(self) -> None:
        """Save the state to go back to; what shared weights are worth before they learn may be measured."""
        super().before_first_step()
        if not self.progress.step:
            with self._afterwards():
                self._call_after_epoch(0, last=False)

    def validation_losses(self, architectures: Sequence[Architecture]) -> list[float]:
        """The mean loss of each architecture on all validation batches, with the weights the search has left.

        Args:
            architectures: connected, of the space.

        Raises:
            Stopped: a signal asked for it; the search is saved.
        """
        losses: list[float] = []
        with self._afterwards():
            for start in range(0, len(architectures), GROUP):
                self.between()
                losses += self.scorer.validation(architectures[start : start + GROUP], self.parts.valid).tolist()
        return losses

    @contextmanager
    def _afterwards(self) -> Iterator[None]:
        """The state is saved, and stays as it is; what is done meanwhile is done again once it was stopped."""
        with self.located(self.advice):
            try:
                yield
            except Stopped as stop:
                raise self.stopped() from stop

    def train_step(self, index: int) -> Requests:
        """Reweight the batch under ``refresh="step"`` (Algorithm 1), and learn architecture and weights from it."""
        batch, order = self.fetch(index), self.algorithm.arch_order
        source = self.curriculum and self.curriculum.source_in_step(self.training_progress(index))
        if source == "candidates":
            self._reweight_batch(batch, index)
        parts = self.in_parts(batch, self.curriculum)
        if order == "before":
            for part in parts if self.context.graphs.active else ():
                self.parts.supernet.draw_ahead(part.batch)
            self._arch_step(index, parts)
        routings = self.algorithm.routes(self.context.generator("route", self.progress.step))
        passes = [self._pass(routing) for routing in routings]
        if source == "trained":
            losses, passes = run_ahead(passes, batch, self.context)
            self._reweight_batch(batch, index, losses)
            parts = self.in_parts(batch, self.curriculum)
        asked = self.weight_step(index, parts, passes)
        if order == "after":
            self._arch_step(index, parts)
        return asked

    def _pass(self, routing: Routing) -> Pass:
        return Pass(lambda rows: self.forward(rows, routing), lambda rows: self.parts.supernet.pure(rows, routing))

    def forward(self, batch: Batch, routing: Routing) -> Output:
        """Run the supernet.

        Args:
            batch: rows of this process, on its device.
            routing: what of the supernet is run.
        """
        return cast(Output, self.parts.supernet(batch, routing))

    def _arch_step(self, index: int, parts: Sequence[Part]) -> None:
        step, rate = self.progress.step, self.learning_rate(index)
        try:
            self.algorithm.arch_step(self.bilevel.step_context(step, parts, rate, self.optimizer))
        except GradientOverflowError:
            pass  # Under fp16, where the scaler of the weights' gradient finds its scale.
        except NonFiniteError:
            # Nothing was learned from it; what its validation batch left may be no number either.
            self.guard.trouble = self.guard.trouble.after_arch_step(good=False)
            self.bilevel.hidden_state = None
        else:
            self.guard.trouble = self.guard.trouble.after_arch_step(good=True)

    def _reweight_batch(self, batch: Batch, index: int, trained: Tensor | None = None) -> None:
        """Reweight by the losses [K, b, ...] of paths that are trained, where they are given, else of candidates."""
        total, progress = self.batches.rows(index), self.training_progress(index)
        unit_ids = self.processes.gather_rows(batch.unit_ids, total)
        if trained is not None:
            losses = self.processes.gather_rows(trained, total, dim=1)
        elif candidates := self._candidates(self.progress.step):
            # Placed already, unless candidates see the rows in another way than training does.
            rows, device = self.processes.rows(total), self.context.device
            scored = place(self.batches.to(device).scoring_batch(index, rows, batch), device)
            scored = replace(scored, hidden_state=batch.hidden_state, all_reduce_sum=batch.all_reduce_sum)
            losses, _ = self.scorer.batch_losses(candidates, scored, [batch.hidden_state] * len(candidates), total)
        else:
            return self._reweight(to_host([unit_ids])[0].unique(), None, progress)
        return self._reweight(*unit_means(*to_host((losses, unit_ids))), progress)

    def _reweight(self, unit_ids_U: Tensor, losses_KU: Tensor | None, progress: Progress) -> None:
        assert self.curriculum is not None
        found_KU = unit_ids_U.new_empty(0, len(unit_ids_U), dtype=torch.float32) if losses_KU is None else losses_KU
        self.guard.trouble = self.guard.trouble.without(self.curriculum.update(unit_ids_U, found_KU, progress))

    def finish_epoch(self) -> dict[str, Any]:
        """Let the algorithm learn, probe a candidate on validation data, reweight the training data."""
        before, trouble = copy.deepcopy(self.algorithm.state_dict()), self.guard.trouble
        used = self.curriculum.statistics() | self.curriculum.traces() if self.curriculum else {}
        try:
            figures = self.algorithm.end_epoch(self.search_context("end_epoch"))
            probe = self._probe()
            self._call_after_epoch(self.progress.epoch + 1, last=False)
            self._reweight_all()
        except Stopped:
            # An unfinished pass leaves no trace (v moves last): it is done again, from the same draws, after a resume.
            self.algorithm.load_state_dict(before)
            self.guard.trouble = trouble
            self.stop_here()
        return probe | figures | used

    def _call_after_epoch(self, epochs: int, *, last: bool) -> None:
        if self._after_epoch is not None:
            start = time.perf_counter()
            self._after_epoch(self, epochs, last)
            self._clock += time.perf_counter() - start

    @property
    def _figure(self) -> str:
        """What is measured beside the loss."""
        return "accuracy" if self.parts.supernet.classifies else "perplexity"

    def figures(self, architecture: Architecture, batches: OrderedBatches) -> dict[str, float]:
        """Loss in nats and perplexity, or accuracy in percent, of an architecture with the shared weights.

        Args:
            architecture: connected, of the space.
            batches: of the kind that the search's validation batches are.
        """
        loss = float(self.scorer.validation([architecture], batches)[0])
        return {"loss": loss, self._figure: self._second(loss, architecture, batches)}

    def _second(self, loss: float, architecture: Architecture, batches: OrderedBatches) -> float:
        classifies = self.parts.supernet.classifies
        return 100 * float(self.scorer.accuracy([architecture], batches)[0]) if classifies else perplexity(loss)

    def _probe(self) -> dict[str, Any]:
        """The validation loss of one candidate: what an architecture of the current policy is worth, shared weights."""
        (probe,) = self.algorithm.candidates(1, self.context.generator("probe", self.progress.epoch))
        loss = float(self._validation([probe])[0])
        figure = self._second(loss, probe, self.parts.valid)
        return {"valid_loss": loss, f"valid_{self._figure}": figure, "probe_architecture": probe.to_str()}

    def _reweight_all(self) -> None:
        progress = self.training_progress(len(self.batches))
        if self.curriculum is None or not self.curriculum.due(progress):
            return
        if candidates := self._candidates(progress.epoch):
            self._reweight(*self.scorer.units(candidates, self.batches.scoring_view(), self.between), progress)
        else:
            self._reweight(torch.arange(self.batches.num_units, device=HOST), None, progress)

    def _candidates(self, counter: int) -> list[Architecture]:
        """The K candidates π_K (Eq. 13), drawn from a stream that nothing else reads."""
        assert self.curriculum is not None
        count = self.curriculum.num_candidates
        return self.algorithm.candidates(count, self.context.generator("judges", counter)) if count else []

    def between(self) -> None:
        """Leave a long pass with `Stopped` where a signal asks for it; all processes at the same place."""
        (stops,) = self.processes.sum_numbers(float(self.context.stop.reason is not None))
        if stops:
            raise Stopped("stopped between two updates")

    def search_context(self, purpose: str) -> SearchContext:
        """What the algorithm may use at this point; draws are named after ``purpose``."""
        epoch = self.progress.epoch

        def draw(name: str, *counters: int) -> torch.Generator:
            return self.context.generator(f"{purpose}/{name}", epoch, *counters)

        score, valid = self.scorer.accuracy, self.parts.valid
        classified = (lambda found, index: score(found, valid, index)) if self.parts.supernet.classifies else None
        return SearchContext(epoch, self.config.num_train_epochs, draw, self._validation, self.between, classified)

    def _validation(self, architectures: Sequence[Architecture], index: int | None = None) -> Tensor:
        """Validation losses; what is not finite is counted, and infinite: worse than everything else."""
        losses_K = self.scorer.validation(architectures, self.parts.valid, index)
        finite_K = losses_K.isfinite()
        self.guard.trouble = self.guard.trouble.without(int((~finite_K).sum()))
        return losses_K.masked_fill(~finite_K, math.inf)

    def state(self) -> dict[str, Any]:
        """The loop's state, the algorithm's (policy, optimiser, baseline) and the curriculum's weights."""
        curriculum = self.curriculum.state_dict() if self.curriculum else None
        own = {"algorithm": self.algorithm.state_dict(), "curriculum": curriculum}
        return super().state() | own | {"arch_carry": self.bilevel.state()}

    def load_state(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""
        super().load_state(state)
        self.algorithm.load_state_dict(state["algorithm"])
        self.bilevel.load_state(state["arch_carry"])
        if self.curriculum:
            self.curriculum.load_state_dict(state["curriculum"])
