"""The arguments of a search and of the run as a whole, and of training the found network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from cnas.errors import UserError
from cnas.training.launcher_flags import launched_precision
from cnas.training.loop_arguments import LEFT_OUT, ArgumentNameError, LoopArguments, require
from cnas.training.time_limit import seconds

__all__ = ["LEFT_OUT", "ArgumentNameError", "LoopArguments", "RetrainArguments", "SearchArguments", "require"]


@dataclass(frozen=True, kw_only=True)
class SearchArguments(LoopArguments):
    """Arguments of the search and of the run as a whole; defaults are those of google-research ``enas_lm``."""

    renamed: ClassVar[Mapping[str, str]] = {
        **LoopArguments.renamed,
        "valid_batch_size": "eval_batch_size",
        "log_with": "report_to",
        "process_timeout": "ddp_timeout",
    }

    output_dir: str | None = field(default=None, metadata={"flag": False})
    """The folder of the run; none makes one below ``runs``."""
    seed: int = 1
    """Of every random draw."""
    num_train_epochs: int = 600
    global_batch_size: int = 128
    eval_batch_size: int = 128
    """Rows of a validation batch: the algorithm's reward and derivation."""
    learning_rate: float = 20.0
    weight_decay: float = 8e-7
    max_grad_norm: float | None = 0.1
    bf16: bool = field(default_factory=lambda: launched_precision() == "bf16")
    """Matrix products in bfloat16; losses and weights stay in float32. What `accelerate launch` was told counts too."""
    fp16: bool = field(default_factory=lambda: launched_precision() == "fp16")
    """Matrix products in float16, as `bf16`; not on a CPU."""
    tf32: bool = False
    """Matrix products of float32 with 10 bits of mantissa, where the device has that."""
    torch_compile: Literal["auto", "on", "off"] = field(default="auto", metadata={"saved": False})
    """Whether steps are compiled and recorded as CUDA graphs; auto does so where there is CUDA."""
    report_to: tuple[str, ...] = ()
    """Trackers of Accelerate, e.g. tensorboard or trackio; all is every installed one."""
    logging_dir: str | None = None
    """Where trackers write; none is ``logs`` in the run folder."""
    ddp_timeout: float = field(default=600.0, compare=False, metadata={"saved": False})
    """Seconds after which a process that waits for another one gives up."""
    check_ranks: int | None = field(default=None, compare=False, metadata={"saved": False})
    """Compare all that the processes hold, bit for bit, every so many steps and before every checkpoint."""
    stop_after: str | None = field(default=None, compare=False, metadata={"saved": False})
    """Save and leave after so much time, e.g. 90s, 9m or 1.5h, counted from when the process began, in Python from when
    the trainer was made."""

    def __post_init__(self) -> None:
        if isinstance(self.output_dir, Path):
            object.__setattr__(self, "output_dir", str(self.output_dir))
        names = [self.report_to] if isinstance(self.report_to, str) else self.report_to
        if isinstance(names, list | tuple):
            object.__setattr__(self, "report_to", tuple(name for name in names if name != "none"))
        super().__post_init__()
        require(
            self,
            ("seed", self.seed >= 0, "at least 0"),
            ("eval_batch_size", self.eval_batch_size >= 1, "at least 1"),
            ("check_ranks", self.check_ranks is None or self.check_ranks >= 1, "at least 1 or none"),
            ("eval_strategy", self.eval_strategy == "epoch", "epoch in a search: its algorithm learns by it"),
            ("ddp_timeout", 1 <= self.ddp_timeout < math.inf, "at least 1 second and finite"),
        )
        if self.stop_after is not None:
            seconds(self.stop_after, "stop_after")
        if self.load_best_model_at_end:
            raise UserError("load_best_model_at_end must be off in a search: it is its last weights that it decides by")
        if self.bf16 and self.fp16:
            raise UserError(f"bf16 and fp16 exclude each other, and accelerate launch says {launched_precision()}")

    @property
    def mixed_precision(self) -> str:
        """What Accelerate calls the precision: ``"no"``, ``"bf16"`` or ``"fp16"``."""
        return "bf16" if self.bf16 else "fp16" if self.fp16 else "no"


@dataclass(frozen=True, kw_only=True)
class RetrainArguments(LoopArguments):
    """Arguments of training the found network; defaults are those of google-research ``enas_lm`` (``fixed.py``)."""

    least_epochs: ClassVar[int] = 0

    num_train_epochs: int = 3000
    """Passes over the training data; 0 leaves the network untrained."""
    global_batch_size: int = 64
    learning_rate: float = 20.0
    weight_decay: float = 1.6e-6
    """L2 penalty on the weights; ``fixed.py`` adds 8e-7·Σw², whose gradient is twice that, and clips it along."""
    max_grad_norm: float | None = 0.25
    nonmonotone: int | None = 10
    """Averaging starts when validation is worse than the best before the last so many epochs; none never starts it."""
    average_from: int | None = None
    """Start averaging at this epoch (from 1) at the latest; none leaves it to the rule."""
    load_best_model_at_end: bool = True
    start: Literal["new", "supernet"] = "new"
    """The weights to begin with: new ones, or those that the supernet of the search has for the network."""
    curriculum: str | None = None
    """A curriculum by which the data is reweighted here too, the network's own losses as the only candidate; none
    trains as published."""
    model_init_kwargs: dict[str, Any] | None = field(default=None, metadata={"flag": False})
    """Sizes of the network, e.g. ``{"hidden_size": 48}``; they become the run's section ``network``."""

    def __post_init__(self) -> None:
        super().__post_init__()
        patience, first = self.nonmonotone, self.average_from
        require(
            self,
            ("nonmonotone", patience is None or patience >= 1, "at least 1 or none"),
            ("average_from", first is None or first >= 2, "at least 2 or none"),
        )
        if self.optim != "sgd":
            for name in ("nonmonotone", "average_from"):
                self._settle(name, None, f"with optim {self.optim}: what is averaged are steps of SGD")
        if self.eval_strategy == "no":
            self._settle("nonmonotone", None, "without validation (eval_strategy no)")
            self._settle("load_best_model_at_end", False, "without validation (eval_strategy no)")
