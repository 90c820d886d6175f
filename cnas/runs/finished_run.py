"""What can be done with a finished run: its model copied, its card written anew, all of it pushed to the Hub."""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from functools import cached_property
from pathlib import Path
from typing import Any

from cnas.errors import StorageError, UserError
from cnas.hub.artifacts import write_card
from cnas.hub.push import push_run
from cnas.runs.config import RunConfig
from cnas.runs.extraction import extract
from cnas.runs.folder import RunFolder
from cnas.runs.result import RunResult
from cnas.runs.task import Task
from cnas.training.context import RunContext
from cnas.types import Architecture


class FinishedRunMixin(ABC):
    """Methods of something that has a run folder, by the names of `transformers.Trainer`.

    Attributes:
        folder: of the run.
        config: of the run.
    """

    folder: RunFolder
    config: RunConfig

    @cached_property
    @abstractmethod
    def task(self) -> Task:
        """The run's configuration, with the data read."""

    @cached_property
    @abstractmethod
    def accelerator(self) -> Any:
        """Devices, processes and precision."""

    @property
    def result(self) -> RunResult | None:
        """What the finished run has measured; None before."""
        return RunResult.load_if_finished(self.folder.path)

    def finished_folder(self) -> Path:
        """The folder of the run.

        Raises:
            UserError: the run is not finished.
        """
        if self.result is None:
            raise UserError(f"output_dir {self.folder.path} holds no finished run; call train, or search and retrain")
        return self.folder.path

    def save_model(self, output_dir: Path | str) -> Path:
        """Copy the model folder of the finished run: weights, configuration and tokenizer or image processor.

        Args:
            output_dir: a folder that is not there yet, or empty.

        Raises:
            UserError: the run is not finished, or the folder holds something.
            StorageError: the disk refuses.
        """
        out, model = Path(output_dir), self.finished_folder() / "model"
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise UserError(f"output_dir {out} is there already; name a new folder")
        try:
            return Path(shutil.copytree(model, out, dirs_exist_ok=True))
        except OSError as problem:
            raise StorageError(f"cannot write {out}: {problem}") from problem

    def create_model_card(self, **options: Any) -> Path:
        """Write the model card of the finished run anew; its path.

        Args:
            options: ``licence`` and ``seeds``, see `cnas.hub.artifacts.write_card`.
        """
        return write_card(self.finished_folder(), **options)

    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """Upload model, card and results of the finished run; the address of the commit.

        Args:
            repo_id: ``owner/name``.
            options: see `cnas.hub.push.push_run`.
        """
        return push_run(self.finished_folder(), repo_id, **options)

    def extract(self, architecture: Architecture | str, output_dir: Path | str | None = None) -> Path:
        """Write the network of any architecture with the weights that the search has left for it, not trained anew.

        Args:
            architecture: of the space, e.g. on the front.
            output_dir: a folder that is not there yet; one below ``extracted`` in that of the run where None.

        Returns:
            The model folder, with tokenizer and card.

        Raises:
            UserError: networks of the space cannot take these weights, there is no search, or the folder is there.
            StorageError: the disk refuses.
        """
        return extract(self.task, self._looking, self.folder.path, str(architecture), output_dir)

    def _looking(self) -> RunContext:
        """A context in which nothing is written."""
        stamp = f"{self.folder.config_hash(self.config)}-{self.task.fingerprint}"
        return RunContext(self.accelerator, self.folder.path, self.config.seed, stamp)
