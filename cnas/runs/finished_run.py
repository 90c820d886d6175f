"""What can be done with a finished run: its model copied, its card written anew, all of it pushed to the Hub."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from accelerate.utils import broadcast_object_list

from cnas.errors import CnasError, StorageError, UserError
from cnas.hub.artifacts import write_card
from cnas.hub.push import push_run
from cnas.runs.config import RunConfig
from cnas.runs.extraction import extract
from cnas.runs.folder import RunFolder, home_folder
from cnas.runs.result import RunResult
from cnas.training.context import RunContext
from cnas.types import Architecture

T = TypeVar("T")


class FinishedRunMixin:
    """Methods of something that has a run folder, by the names of `transformers.Trainer`.

    Under a launcher of several processes all of them call a method; the main one works.

    Attributes:
        folder: of the run.
        config: of the run.
        task: the run's configuration, with the data read.
        accelerator: devices, processes and precision.
    """

    folder: RunFolder
    config: RunConfig
    task: Any
    accelerator: Any

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

    def model_folder(self) -> Path:
        """The folder of the trained model.

        Raises:
            UserError: the run is not finished, or has trained nothing.
        """
        model = self.finished_folder() / "model"
        if not model.exists():
            raise UserError(f"run {self.folder.path} has trained nothing: retrain.num_train_epochs is 0")
        return model

    def save_model(self, output_dir: Path | str) -> Path:
        """Copy the model folder of the finished run: weights, configuration and tokenizer or image processor.

        Args:
            output_dir: a folder that is not there yet, or empty.

        Raises:
            UserError: the run is not finished, or the folder holds something.
            StorageError: the disk refuses.
        """
        return self._once(lambda: _copied(self.model_folder(), home_folder(output_dir)))

    def create_model_card(self, **options: Any) -> Path:
        """Rewrite the model card of the finished run; returns its path.

        Args:
            options: ``licence`` and ``seeds``, see `cnas.hub.artifacts.write_card`.
        """
        return self._once(lambda: write_card(self.finished_folder(), **options))

    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """Upload model, card and results of the finished run; the address of the commit.

        Args:
            repo_id: ``owner/name``.
            options: see `cnas.hub.push.push_run`.
        """
        return self._once(lambda: push_run(self.finished_folder(), repo_id, **options))

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
        out = None if output_dir is None else home_folder(output_dir)
        return self._once(lambda: extract(self.task, self._looking, self.folder.path, str(architecture), out))

    def _once(self, work: Callable[[], T]) -> T:
        """What the main process's work gives, on every process; the others wait for it."""
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return work()
        found: list[Any] = [None, None]
        if self.accelerator.is_main_process:
            try:
                found[0] = work()
            except CnasError as problem:
                found[1] = problem
        broadcast_object_list(found)
        if found[1] is not None:
            raise found[1]
        return cast(T, found[0])

    def _looking(self) -> RunContext:
        """A read-only context of the run."""
        stamp = f"{self.folder.config_hash(self.config)}-{self.task.fingerprint}"
        return RunContext(self.accelerator, self.folder.path, self.config.seed, stamp)


def _copied(model: Path, out: Path) -> Path:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"output_dir {out} is there already; name a new folder")
    try:
        return Path(shutil.copytree(model, out, dirs_exist_ok=True))
    except OSError as problem:
        raise StorageError(f"cannot write {out}: {problem}") from problem
