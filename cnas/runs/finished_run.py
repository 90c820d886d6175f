"""What can be done with a finished run: its model copied, its card written anew, all of it pushed to the Hub."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

from accelerate.utils import get_int_from_env

from cnas.errors import StorageError, UserError
from cnas.hub.artifacts import write_card
from cnas.hub.push import push_run
from cnas.runs.config import RunConfig
from cnas.runs.extraction import extract
from cnas.runs.folder import RunFolder, home_folder
from cnas.runs.result import RunResult
from cnas.training.context import RunContext
from cnas.types import Architecture

P = ParamSpec("P")
T = TypeVar("T")
RANKS = ["RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK"]


def on_main_process(method: Callable[P, T]) -> Callable[P, T]:
    """A method that does nothing, and gives None, in all processes of a launcher but the main one."""

    @wraps(method)
    def work(*args: P.args, **options: P.kwargs) -> T:
        return method(*args, **options) if get_int_from_env(RANKS, 0) == 0 else cast(T, None)

    return work


class FinishedRunMixin:
    """Methods of something that has a run folder, by the names of `transformers.Trainer`.

    Of several processes the main one alone works, as with `transformers.Trainer`; the others get None at once.

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

    @on_main_process
    def save_model(self, output_dir: Path | str) -> Path:
        """Copy the model folder of the finished run: weights, configuration and tokenizer or image processor.

        Args:
            output_dir: a folder that is not there yet, or empty.

        Raises:
            UserError: the run is not finished, or the folder holds something.
            StorageError: the disk refuses.
        """
        return _copied(self.model_folder(), home_folder(output_dir))

    @on_main_process
    def create_model_card(self, **options: Any) -> Path:
        """Rewrite the model card of the finished run; returns its path.

        Args:
            options: ``licence`` and ``seeds``, see `cnas.hub.artifacts.write_card`.
        """
        return write_card(self.finished_folder(), **options)

    @on_main_process
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
        # The main process would wait for the others to make their accelerators.
        if not self.accelerator.is_main_process:
            return cast(Path, None)
        out = None if output_dir is None else home_folder(output_dir)
        return extract(self.task, self._looking, self.folder.path, str(architecture), out)

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
