"""Whether the parts of a run fit together, whatever its data is: asked before anything is trained or written."""

from __future__ import annotations

from cnas.errors import UserError
from cnas.runs.config import RunConfig
from cnas.training.trainer import check_candidates


def check_search(config: RunConfig, processes: int) -> None:
    """Raise what the search would raise, or what is wrong with the architecture that is given instead.

    Args:
        config: of the run, with the sizes filled in that the data has.
        processes: how many share a batch.

    Raises:
        UserError: a batch is too small, K above the number of architectures, or the architecture none of the space.
    """
    if config.options.architecture is not None:
        config.space.parse(config.options.architecture)
        return
    config.trainer.check_processes(processes, "trainer.")
    if config.trainer.valid_batch_size < processes:
        found = config.trainer.valid_batch_size
        raise UserError(f"trainer.valid_batch_size must be at least the {processes} processes, got {found}")
    if config.space.batch_statistics:
        config.trainer.check_whole_batches("trainer.", "supernet")
    if config.curriculum:
        check_candidates(config.curriculum, config.space)


def check_training(config: RunConfig, processes: int) -> None:
    """Raise what the training of the derived network would raise.

    Args:
        config: of the run.
        processes: how many share a batch.

    Raises:
        UserError: a batch is too small.
    """
    if config.retrain.epochs:
        config.retrain.check_processes(processes, "retrain.")
