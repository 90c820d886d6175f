"""Show versions, device and threads as JSON.

cnas env                # what a report of a problem should contain
"""

from __future__ import annotations

import argparse
import json
import platform


def add_flags(parser: argparse.ArgumentParser) -> None:
    """What ``cnas env`` takes: nothing."""


def run(given: argparse.Namespace) -> str:  # noqa: ARG001
    """The same fields as ``environment`` in ``result.json``, the platform, and what can be chosen by name."""
    import torch
    from accelerate import Accelerator

    from cnas import algorithms, spaces
    from cnas.runs.devices import environment
    from cnas.training.cuda_graphs import step_graphs

    accelerator = Accelerator(cpu=not torch.accelerator.is_available())
    found = environment(accelerator) | step_graphs("auto", accelerator.device, "no", print).describe()
    more = {"platform": platform.platform(), "algorithms": algorithms.names(), "spaces": spaces.names()}
    return json.dumps(found | more, indent=2)
