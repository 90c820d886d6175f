"""The arguments that every training loop has, by the names of `transformers.TrainingArguments` where these mean it."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, Self

from cnas.errors import UserError
from cnas.fields import RemembersGiven
from cnas.training.optimizers import arguments_text, check_optimizer, optimizer_name

LEFT_OUT = {
    "per_device_train_batch_size": "the number of devices must not change a result: global_batch_size is all rows of "
    "a step, micro_batch_size what a device takes at once",
    "per_device_eval_batch_size": "the number of devices must not change a result: use eval_batch_size",
    "gradient_accumulation_steps": "a step is one global batch: micro_batch_size says how many rows go through the "
    "network at once",
    "accumulation_steps": "use micro_batch_size, the rows that go through the network at once",
    "schedule": "use lr_scheduler_type; what was called cosine is cosine_by_epoch",
    "eval_steps": "evaluation follows every epoch",
    "save_strategy": "a checkpoint follows every epoch, and every save_steps steps",
    "logging_steps": "numbers are logged after every epoch",
    "logging_strategy": "numbers are logged after every epoch",
    "warmup_ratio": "use warmup_steps",
    "label_smoothing_factor": "losses are cross-entropies, by which architectures are compared",
    "gradient_checkpointing": "micro_batch_size saves memory",
    "dataloader_num_workers": "batches are cut from memory; nothing is loaded while training",
    "remove_unused_columns": "text_column, or image_column and label_column, of data_args name what is read",
    "overwrite_output_dir": "nothing is overwritten: name a new folder, or resume",
    "run_name": "a run is called by its output_dir",
    "push_to_hub": "use CurriculumTrainer.push_to_hub",
    "hub_model_id": "use CurriculumTrainer.push_to_hub",
    "data_seed": "seed is that of every draw, each from a stream of its own",
    "max_steps": "use num_train_epochs",
}
"""Names that somebody may expect, and why they are none here."""


class ArgumentNameError(UserError, TypeError):
    """There is no argument of that name."""


def require(config: object, *rules: tuple[str, bool, str]) -> None:
    """Raise a `UserError` for the first rule of ``config`` that fails: (field, whether it holds, what is allowed)."""
    for name, holds, allowed in rules:
        if not holds:
            raise UserError(f"{name} must be {allowed}, got {getattr(config, name)}")


@dataclass(frozen=True, kw_only=True)
class LoopArguments(RemembersGiven):
    """Arguments of every training loop.

    A `SearchSpace` knows the values that were published for it; they take the place of what was not `given` here when
    a `CurriculumTrainer` is made.

    Raises:
        UserError: naming the field, its value and what is allowed.
        ArgumentNameError: there is no such field; with the reason, or the nearest name.
    """

    least_epochs: ClassVar[int] = 1
    renamed: ClassVar[Mapping[str, str]] = {
        "epochs": "num_train_epochs",
        "batch_size": "global_batch_size",
        "clip_norm": "max_grad_norm",
        "checkpoint_steps": "save_steps",
    }
    """Flags of 0.1.0, and what they are called now."""

    num_train_epochs: int = 1
    """Passes over the training data."""
    global_batch_size: int = 64
    """Rows of the global batch, whatever the number of processes."""
    micro_batch_size: int | None = None
    """Most rows that go through the network of one process at once, to save memory; the update is the same. None takes
    the whole share of a process, as a network that normalises over whole batches needs."""
    learning_rate: float = 20.0
    """Of the optimiser of the weights, at the beginning."""
    lr_scheduler_type: Literal["constant", "cosine_by_epoch", "cosine", "linear"] = "constant"
    """How the learning rate goes on: in every step, or by epoch, where it stays within an epoch."""
    final_learning_rate: float = 0.0
    """Where the cosine or the line would arrive after the last epoch."""
    warmup_steps: int = 0
    """The learning rate first rises from 0 in so many steps; cosine and linear begin after them."""
    optim: str = "sgd"
    """The optimiser of the weights: sgd, adamw, or a class of torch.optim by its name."""
    optim_args: str | None = None
    """Further arguments of the optimiser, e.g. "amsgrad=true,maximize=false"; in Python also a dict."""
    momentum: float = 0.0
    """Of SGD on the weights."""
    nesterov: bool = False
    """Whether the momentum of SGD is Nesterov's."""
    adam_beta1: float = 0.9
    """Decay of the first moment, where the optimiser is AdamW or another one with betas."""
    adam_beta2: float = 0.999
    """Decay of its second moment."""
    adam_epsilon: float = 1e-8
    """What its denominator never falls below."""
    weight_decay: float = 0.0
    """L2 penalty on the weights that a step uses; its gradient is added after clipping. AdamW's is decoupled."""
    weight_decay_on: Literal["all", "matrices"] = "all"
    """Which weights decay: all, or matrices alone, without biases and norms."""
    max_grad_norm: float | None = 0.25
    """Largest norm of the gradient; longer ones are scaled down to it. None leaves it as it is."""
    save_steps: int | None = None
    """Also save every so many steps; none saves at the end of every epoch only."""
    save_total_limit: int = 2
    """So many checkpoints of a phase are kept, the newest ones."""
    eval_strategy: Literal["epoch", "no"] = "epoch"
    """When there is validation; callbacks hear of it in ``on_evaluate``."""
    metric_for_best_model: str = "loss"
    """What validation compares by: loss, perplexity, accuracy, or a name that ``compute_metrics`` returns."""
    greater_is_better: bool | None = None
    """Whether more of that metric is better; none is yes unless its name ends in loss or perplexity."""
    load_best_model_at_end: bool = False
    """Whether the weights that were best by that metric are kept, or the last ones."""
    bad_steps_in_a_row: int = 5
    """So many steps in a row with a loss or a gradient that is not finite, or a loss 5 nats above that of guessing, and
    training goes back to the start of the epoch with half the learning rate."""

    def __new__(cls, **given: Any) -> Self:
        """Refuse names that are no fields, with a reason."""
        names = [each.name for each in fields(cls)]
        for name in given:
            if name not in names:
                close = difflib.get_close_matches(name, names, n=1)
                why = LEFT_OUT.get(name) or (f"did you mean {close[0]}?" if close else f"allowed: {', '.join(names)}")
                raise ArgumentNameError(f"{name} is no field of {cls.__name__}: {why}")
        return super().__new__(cls, **given)

    def __post_init__(self) -> None:
        object.__setattr__(self, "optim", optimizer_name(self.optim))
        object.__setattr__(self, "optim_args", arguments_text(self.optim_args))
        super().__post_init__()
        least = {
            "num_train_epochs": self.least_epochs,
            "global_batch_size": 1,
            "save_total_limit": 1,
            "bad_steps_in_a_row": 1,
            "warmup_steps": 0,
        }
        clip, rate = self.max_grad_norm, self.learning_rate
        some = {"micro_batch_size": self.micro_batch_size, "save_steps": self.save_steps}
        require(
            self,
            *((name, getattr(self, name) >= lowest, f"at least {lowest}") for name, lowest in least.items()),
            *((name, value is None or value >= 1, "at least 1 or none") for name, value in some.items()),
            ("learning_rate", 0 < rate < math.inf, "above 0 and finite"),
            ("max_grad_norm", clip is None or 0 < clip < math.inf, "above 0 and finite, or none"),
            ("weight_decay", 0 <= self.weight_decay < math.inf, "at least 0 and finite"),
            ("final_learning_rate", 0 <= self.final_learning_rate <= rate, f"between 0 and learning_rate {rate}"),
            ("adam_epsilon", 0 <= self.adam_epsilon < math.inf, "at least 0 and finite"),
            *(
                (name, 0 <= getattr(self, name) < 1, "at least 0 and below 1")
                for name in ("momentum", "adam_beta1", "adam_beta2")
            ),
        )
        if self.nesterov and not self.momentum:
            raise UserError("nesterov needs a momentum above 0, got momentum 0")
        if self.optim != "sgd" or self.optim_args:
            check_optimizer(self)

    def _settle(self, name: str, value: Any, why: str) -> None:
        """Fill in the only value that a field can have, and refuse another one that somebody chose."""
        assert self.given is not None
        found = getattr(self, name)
        if found != value and name in self.given:
            allowed = "none" if value is None else str(value).lower()
            raise UserError(f"{name} must be {allowed} {why}, got {found}")
        object.__setattr__(self, name, value)
        object.__setattr__(self, "given", self.given | {name})

    def check_whole_batches(self, prefix: str, what: str = "network") -> None:
        """Refuse sizes at which a network that normalises over whole batches would get parts, or single rows.

        Args:
            prefix: of the field's name in the message.
            what: normalises, in the message.

        Raises:
            UserError: a size is one of these.
        """
        if self.micro_batch_size is not None:
            raise UserError(
                f"{prefix}micro_batch_size must be none where the network normalises over whole batches, "
                f"got {self.micro_batch_size}"
            )
        for name in ("global_batch_size", "eval_batch_size"):
            if getattr(self, name, 2) < 2:
                raise UserError(f"{prefix}{name} must be at least 2 where the {what} normalises batches, got 1")

    def check_processes(self, world: int, prefix: str = "") -> None:
        """Raise a `UserError`, the field after ``prefix``, where one of ``world`` processes has no row of a batch."""
        for name in ("global_batch_size", "eval_batch_size"):
            if getattr(self, name, world) < world:
                found = getattr(self, name)
                raise UserError(f"{prefix}{name} must be at least the {world} processes, got {found}")
