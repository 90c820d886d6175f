"""What a search is made of, and whether that fits together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cnas.algorithms.base import SearchAlgorithm
from cnas.curricula import Curriculum, DatasetInfo
from cnas.data.base import OrderedBatches
from cnas.errors import UserError
from cnas.random import HOST
from cnas.spaces.base import SearchSpace
from cnas.spaces.supernet import SuperNet
from cnas.training.arguments import SearchArguments


@dataclass(frozen=True)
class SearchParts:
    """What a search is made of.

    Args:
        space: the search space.
        supernet: its shared weights.
        algorithm: chooses routings and, in the end, the architecture.
        curriculum: reweights the training data; None is the plain algorithm. It is copied, and never changed.
        train: training batches; the curriculum's units.
        valid: validation batches of the same kind.
        arch: those of architecture steps, where they are others: shuffled anew in every pass, say.
    """

    space: SearchSpace
    supernet: SuperNet
    algorithm: SearchAlgorithm
    curriculum: Curriculum | None
    train: OrderedBatches
    valid: OrderedBatches
    arch: OrderedBatches | None = None


def check_candidates(curriculum: Curriculum, algorithm: SearchAlgorithm, config: SearchArguments) -> None:
    """Raise a `UserError` where there are fewer than K architectures, or too few paths in a step, to score with."""
    size, paths, parts = algorithm.space.size, algorithm.paths_per_step, config.micro_batch_size
    if curriculum.source == "candidates":
        if (count := curriculum.num_candidates) > size:
            allowed = f"at most {size}, the number of architectures"
            raise UserError(f"curriculum.num_candidates must be {allowed}, got {count}")
    elif paths == 1:
        why = f"{algorithm.name}, which trains a single path in a step"
        raise UserError(f"curriculum.source must be candidates with {why}, got 'trained'")
    elif parts is not None:
        raise UserError(f"trainer.micro_batch_size must be none where curriculum.source is trained, got {parts}")


def check_optimizer_fits(algorithm: Any, config: SearchArguments) -> None:
    """Raise a `UserError` where an algorithm, or its configuration, does not know the steps of the optimiser."""
    if algorithm.needs_sgd and (config.optim != "sgd" or config.optim_args):
        got = f"optim {config.optim}" if config.optim != "sgd" else f"optim_args {config.optim_args}"
        raise UserError(f"trainer.optim must be sgd, without optim_args, with {algorithm.name}, got {got}")


def is_text(batches: OrderedBatches) -> bool:
    """Whether every position has a label, a word, and not every row.

    Args:
        batches: of a training.
    """
    return batches.batch(0, slice(0, 1)).labels.dim() > 1


def set_up(
    curriculum: Curriculum | None, batches: OrderedBatches, seed: int, device: torch.device = HOST
) -> Curriculum | None:
    """A copy of a curriculum that is ready for some data, the same on every process; None where it does nothing.

    Args:
        curriculum: as it was configured.
        batches: of the training.
        seed: of the run.
        device: where weights are looked up.
    """
    if curriculum is None or not curriculum.active:
        return None
    words = is_text(batches)

    def read() -> Iterator[tuple[Tensor, Tensor]]:
        for index in range(len(batches)):
            batch = batches.batch(index, slice(0, batches.rows(index)))
            yield batch.labels, batch.unit_ids

    info = DatasetInfo(batches.num_units, read if words else None)
    return curriculum.setup(batches.num_units, info, seed, device)
