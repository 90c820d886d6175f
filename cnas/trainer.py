"""`CurriculumTrainer`: search an architecture on reweighted data, train it, measure it, leave a model."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from cnas.data.paths import as_text
from cnas.errors import UserError
from cnas.hub.model_folder import load_network
from cnas.runs import pipeline
from cnas.runs.checks import check_metrics
from cnas.runs.choices import choose, preset_with, resumes
from cnas.runs.conclude import conclude
from cnas.runs.config import RunConfig
from cnas.runs.devices import make_accelerator
from cnas.runs.finished_run import FinishedRunMixin
from cnas.runs.finished_search import measure_subnet, search_result
from cnas.runs.folder import RunFolder, chosen, home_folder
from cnas.runs.hooks import Hooks
from cnas.runs.result import RunResult
from cnas.runs.session import at_work
from cnas.runs.task import Task, load_task
from cnas.training.arguments import RetrainArguments, SearchArguments
from cnas.training.context import RunContext, StopSignal
from cnas.training.evaluate import Compute, Preprocess, evaluate_network
from cnas.types import Architecture, SearchResult

if TYPE_CHECKING:
    from transformers import PreTrainedModel, TrainerCallback

HOOKS = {"callbacks", "compute_metrics", "preprocess_logits_for_metrics"}


class CurriculumTrainer(FinishedRunMixin):
    """Searches an architecture, trains it and leaves a model; the counterpart of `transformers.Trainer`.

    What is left open is as it was published for the space. ``SearchArguments.output_dir`` keeps everything; a run that
    was stopped or killed goes on from it exactly, also in a new process.

    Args:
        space: a search space: its name or e.g. ``EnasRnnSpace(hidden_size=64)``.
        algorithm: a search algorithm: its name or its configuration, e.g. ``ENAS.Config(samples=5)``.
        curriculum: how the training data is reweighted: a name or e.g. ``Uncertainty(num_candidates=5)``; None is the
            plain algorithm.
        args: of the search and of the run.
        retrain_args: of the training of the found network.
        train_dataset: a name or path of data, a `datasets.Dataset`, or a `DatasetDict` whose other splits are used.
        eval_dataset: what is measured on, where ``train_dataset`` has no validation split.
        processing_class: a fast tokenizer; None is the vocabulary of the training text.
        data_args: length of a chunk, sizes of the splits and the like: a `TextConfig` or an `ImageConfig`.
        compute_metrics: from an `EvalPrediction` to numbers by name, as that of `transformers.Trainer`; of text it gets
            the most probable tokens instead of logits, which would fill the memory.
        preprocess_logits_for_metrics: what it gets instead, from the logits and labels of a batch.
        callbacks: `transformers.TrainerCallback`s of search and retraining.

    Raises:
        UserError: a name, a field or the data is wrong; nothing is written by then.

    Example:
        >>> trainer = CurriculumTrainer(
        ...     "enas_rnn", "rsps", args=SearchArguments(output_dir="runs/doc"), train_dataset="pydoc"
        ... )
        >>> trainer.config.trainer.global_batch_size, trainer.config.curriculum.name
        (128, 'uncertainty')
    """

    def __init__(  # noqa: PLR0913 - as transformers.Trainer has them
        self,
        space: Any,
        algorithm: Any,
        curriculum: Any = "uncertainty",
        args: SearchArguments | None = None,
        *,
        retrain_args: RetrainArguments | None = None,
        train_dataset: Any = None,
        eval_dataset: Any = None,
        processing_class: Any = None,
        data_args: Any = None,
        compute_metrics: Compute | None = None,
        preprocess_logits_for_metrics: Preprocess | None = None,
        callbacks: Sequence[TrainerCallback] | None = None,
    ) -> None:
        if train_dataset is None:
            raise UserError("train_dataset must be a name, a path, a Dataset or a DatasetDict, got None")
        config = choose(space, algorithm, curriculum, args, retrain_args, data_args)
        hooks = Hooks(tuple(callbacks or ()), compute_metrics, preprocess_logits_for_metrics)
        self._set_up(config, None, hooks, train_dataset, eval_dataset, processing_class)

    @classmethod
    def from_config(cls, config: RunConfig, output_dir: Path | str | None = None, **own: Any) -> Self:
        """The trainer of a complete configuration, e.g. of the one that a run has left.

        Args:
            config: of the run.
            output_dir: of the run; that of ``config.trainer``, or one below ``runs``, where None.
            own: ``train_dataset``, ``eval_dataset``, ``processing_class``, where the data is no name or path;
                ``callbacks``, ``compute_metrics`` and the like.
        """
        trainer = cls.__new__(cls)
        hooks = Hooks(**{name: own.pop(name) for name in own.keys() & HOOKS})
        trainer._set_up(config, output_dir, hooks, **{"train_dataset": config.data, **own})
        return trainer

    @classmethod
    def from_preset(
        cls, preset: str, *, algorithm: str | None = None, train_dataset: Any = None, **changes: Any
    ) -> Self:
        """The trainer of a preset, see ``cnas list presets``.

        Args:
            preset: e.g. ``"ptb_cl_enas/smoke"``.
            algorithm: searches in place of the preset's own.
            train_dataset: data in place of the preset's own, as above.
            changes: ``eval_dataset``, ``callbacks`` and the like as above; fields of `SearchArguments`, e.g.
                ``seed=2``; or sections of the configuration, e.g. ``space={"hidden_size": 16}`` or ``curriculum=None``.

        Example:
            >>> trainer = CurriculumTrainer.from_preset("ptb_cl_enas/smoke", seed=2, retrain={"num_train_epochs": 1})
            >>> trainer.config.retrain.num_train_epochs, trainer.folder.path.name[:21]
            (1, 'ptb_cl_enas-smoke-s2-')
        """
        own = {name: changes.pop(name) for name in changes.keys() & (HOOKS | {"eval_dataset", "processing_class"})}
        if train_dataset is not None:
            own["train_dataset"] = train_dataset
        return cls.from_config(preset_with(preset, algorithm, changes), **own)

    def _set_up(
        self,
        config: RunConfig,
        output_dir: Path | str | None,
        hooks: Hooks,
        train_dataset: Any,
        eval_dataset: Any = None,
        processing_class: Any = None,
    ) -> None:
        self.hooks = hooks
        train_dataset = as_text(train_dataset)
        given = None if isinstance(train_dataset, str) else train_dataset
        self._data = {"data": given, "eval_data": eval_dataset, "tokenizer": processing_class}
        self.config = replace(config, data=train_dataset) if isinstance(train_dataset, str) else config
        if not isinstance(train_dataset, str) or processing_class is not None:
            read = self.task.config
            self.config = replace(self.config, data=read.data, text=read.text)
            del self.task
        self.folder = RunFolder(home_folder(output_dir or config.trainer.output_dir or self.config.default_folder))
        self._begun, self.started = False, time.monotonic()  # where `stop_after` counts from
        self._network: PreTrainedModel | None = None

    @cached_property
    def task(self) -> Task:
        """The data, with what a run does differently for text and images."""
        return load_task(self.config, **self._data)

    @cached_property
    def accelerator(self) -> Any:
        """Devices, processes, precision and trackers."""
        return make_accelerator(self.config, self.folder.path)

    def search(self, resume_from_checkpoint: bool | None = None) -> SearchResult:
        """Search an architecture.

        Args:
            resume_from_checkpoint: go on from the newest checkpoint in the folder, or from a finished search.

        Raises:
            UserError: the folder holds files and is not to be resumed, or a field does not fit the data.
            CheckpointError, NonFiniteError, ProcessGroupError, StorageError, Stopped: see `cnas.errors`.
        """
        if self.config.architecture is not None:
            raise UserError(f"architecture {self.config.architecture!r} is given, so nothing is searched; use retrain")
        self._check(resume := resumes(resume_from_checkpoint) or self._begun)
        found = self.folder.read_json("search.json")
        if found is None:
            with self._working(resume) as context:
                found = pipeline.search(self.task, context, self.folder, self.hooks)
        return search_result(self.task, self.folder, found, self._looking)

    def retrain(
        self, architecture: Architecture | str | None = None, resume_from_checkpoint: bool | None = None
    ) -> PreTrainedModel:
        """Train the found network, measure it, and write model, card and report.

        In a new process too this goes on from the search that is in the folder.

        Args:
            architecture: the one to train, on the front that the search has found; or one to train without a search,
                where ``output_dir`` holds none.
            resume_from_checkpoint: go on from the newest checkpoint of the training.

        Returns:
            The network with its best weights, as ``model`` in the folder holds it, in evaluation mode.

        Raises:
            UserError: nothing was searched yet, or the folder holds a training that is not to be resumed.
            CheckpointError, NonFiniteError, ProcessGroupError, StorageError, Stopped: see `cnas.errors`.
        """
        resume, found = resumes(resume_from_checkpoint), self.folder.read_json("search.json")
        if not self.config.retrain.num_train_epochs:
            raise UserError("retrain_args.num_train_epochs must be at least 1 to train a network, got 0")
        text = None if architecture is None else self.config.space.parse(str(architecture)).to_str()
        if text is not None and (found or {}).get("string") != text:
            self.config = self.folder.with_architecture(self.config, text)
            self.__dict__.pop("task", None)
        if self.config.architecture is None and found is None:
            raise UserError(f"output_dir {self.folder.path} holds no finished search; call search first")
        trained = any(self.folder.path.glob("checkpoints/retrain/step-*"))
        if trained and not resume and not self.result:
            raise UserError(
                f"output_dir {self.folder.path} holds a training already; resume_from_checkpoint=True goes on with it"
            )
        self._begun |= found is not None
        self.train(resume_from_checkpoint)
        return self._trained()

    def train(self, resume_from_checkpoint: bool | None = None) -> RunResult:
        """Search, retrain, measure; write model, card and report. A finished run is not done again.

        Args:
            resume_from_checkpoint: go on from what the folder holds, or start where that is nothing.

        Raises:
            UserError: a field, a file or the folder is wrong, or another process is at work in it; raised before any
                training.
            CheckpointError, NonFiniteError, ProcessGroupError, StorageError, Stopped: see `cnas.errors`.
        """
        resume = resumes(resume_from_checkpoint) or self._begun
        if self._check(resume):
            if self.accelerator.is_main_process:
                print(f"finished already: {self.folder.path / 'result.json'}", flush=True)
            return RunResult.load(self.folder.path)
        with self._working(resume) as context:
            task, config = self.task, self.config
            found = pipeline.search(task, context, self.folder, self.hooks)
            trained = None
            if config.retrain.num_train_epochs:
                architecture = config.space.parse(chosen(found))
                trained = pipeline.retrain(task, context, architecture, self.hooks)
            return conclude(task, context, self.folder, found, trained)

    def evaluate(self, eval_dataset: Any = None, metric_key_prefix: str = "eval") -> dict[str, float]:
        """Measure the trained network, or the found subnet with the shared weights where nothing was trained yet.

        Args:
            eval_dataset: other data than the validation split; text is cut into tokens as the training text was.
            metric_key_prefix: of the names of the figures.

        Returns:
            Loss in nats, perplexity or accuracy in percent.
        """
        data = None if eval_dataset is None else self.task.read(as_text(eval_dataset))
        if (done := self.result) is not None and (done.retrain or not done.search):
            figures = evaluate_network(self._trained(), self.task.evaluation(data), **self.hooks.metrics)
        else:
            figures = measure_subnet(self.task, self._looking(), self.folder, data, self.hooks)
        return {f"{metric_key_prefix}_{name}": value for name, value in figures.items()}

    def close(self) -> None:
        """Leave the group of processes; nothing is trained afterwards."""
        if "accelerator" in self.__dict__:
            self.accelerator.end_training()

    def _trained(self) -> PreTrainedModel:
        """The trained network, from the model folder."""
        if self._network is None:
            self._network = load_network(self.model_folder())
        return self._network.to(self.accelerator.device)

    def _check(self, resume: bool) -> bool:
        """Whether the run is finished; raises where the folder must not be used."""
        return self.folder.check(self.config, lambda: self.task.fingerprint, resume=resume) is not None

    @contextmanager
    def _working(self, resume: bool) -> Iterator[RunContext]:
        """Everything is checked and the folder is locked; what several stages share is made once."""
        resume = resume or self._begun
        accelerator = self.accelerator
        self._check(resume)
        task = self.task
        self.folder.check_data(self.config, task.fingerprint)
        check_metrics(self.config, self.hooks)
        task.check(accelerator.num_processes)
        parts = (self.folder, self.config, accelerator, task.fingerprint, lambda: self._check(resume))
        with at_work(*parts, resume=resume, stop=StopSignal(self.config.trainer.stop_after, self.started)) as context:
            if not self._begun:
                for remark in [*task.remarks(), *context.graphs.remarks()]:
                    context.log(remark)
            self._begun = True
            yield context
