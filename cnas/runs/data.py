"""From a configuration to its data: the one place that knows which kinds there are."""

from __future__ import annotations

from cnas.runs.config import RunConfig
from cnas.runs.images import ImageTask
from cnas.runs.task import Task
from cnas.runs.text import TextTask


def load_task(config: RunConfig) -> Task:
    """Read the data of a run.

    Args:
        config: of the run; where it has ``images`` the data are images, else text.

    Raises:
        UserError: the data cannot be used, or is out of reach.
    """
    return TextTask.load(config) if config.images is None else ImageTask.load(config)
