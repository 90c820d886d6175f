"""Devices, processes, precision and trackers of a run."""

from __future__ import annotations

import os
import platform
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.tracking import get_available_trackers
from accelerate.utils import InitProcessGroupKwargs, LoggerType, ProjectConfiguration

from cnas.errors import UserError
from cnas.random import HOST
from cnas.runs.config import RunConfig
from cnas.training.cuda_graphs import check_precision, step_graphs
from cnas.training.launcher_flags import refuse_unmet
from cnas.training.step_graphs import StepGraphs

PACKAGES = ("cnas", "torch", "transformers", "datasets", "accelerate", "safetensors")


def make_accelerator(config: RunConfig, folder: Path) -> Accelerator:
    """Create the run's `Accelerator`: devices, processes, precision and trackers.

    Args:
        config: ``trainer`` says which precision and trackers, and how long processes wait for one another.
        folder: of the run; trackers write below ``logs/`` where nothing else is said.

    Raises:
        UserError: an unknown tracker, a precision that the device does not have, or a setting of the launcher that a
            run does not follow.
    """
    options = config.trainer
    refuse_unmet(options.mixed_precision)
    for tracker in options.report_to:
        _check_tracker(tracker)
    try:
        accelerator = Accelerator(
            # Where there is none, Accelerate must know, or two processes of torchrun start two separate runs.
            cpu=not torch.accelerator.is_available(),
            mixed_precision=options.mixed_precision,
            log_with=[*options.report_to] or None,
            project_config=ProjectConfiguration(
                project_dir=str(folder), logging_dir=options.logging_dir or str(folder / "logs")
            ),
            kwargs_handlers=[InitProcessGroupKwargs(timeout=timedelta(seconds=options.ddp_timeout))],
        )
    except ValueError as problem:
        raise UserError(
            f"mixed_precision {options.mixed_precision!r}, or the launcher's processes, cannot be had in this process, "
            "perhaps because another trainer in it uses another precision: start a new process"
        ) from problem
    except ImportError as problem:
        raise UserError("--enable_cpu_affinity of accelerate launch needs a package that is not installed") from problem
    if options.mixed_precision == "fp16" and accelerator.device.type == HOST.type:
        raise UserError(f"mixed_precision must be no or bf16 on {accelerator.device}, got 'fp16'")
    check_precision(options.mixed_precision, accelerator.device)
    if options.tf32 and accelerator.device.type == HOST.type:
        raise UserError(f"tf32 must be off on {accelerator.device}, got on")
    if options.torch_compile == "on":
        graphs_of(config, accelerator)
    set_float32_precision(tf32=options.tf32)
    return accelerator


def set_float32_precision(*, tf32: bool) -> None:
    """What float32 means in products of matrices and in convolutions, of which torch rounds the latter by itself.

    Args:
        tf32: whether their factors may have ten bits of mantissa, where the device can multiply such.
    """
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = tf32


def graphs_of(config: RunConfig, accelerator: Accelerator) -> StepGraphs:
    """What records the steps of a run.

    Args:
        config: ``trainer`` says whether any are.
        accelerator: device and precision.
    """

    def log(text: str) -> None:
        if accelerator.is_main_process:
            print(text, flush=True)

    precision = "tf32" if config.trainer.tf32 and accelerator.mixed_precision == "no" else accelerator.mixed_precision
    return step_graphs(config.trainer.torch_compile, accelerator.device, precision, log)


def _check_tracker(name: str) -> None:
    if name not in LoggerType.list():
        raise UserError(f"report_to must be one of {', '.join(LoggerType.list())}, got {name!r:.60}")
    if name not in ("all", *map(str, get_available_trackers())):
        raise UserError(
            f"report_to {name!r} is not installed; tensorboard and trackio come with pip install cnas[track]"
        )


def environment(accelerator: Accelerator) -> dict[str, Any]:
    """Versions, device type, processes and threads: what a figure may depend on."""
    return {
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
        "device": accelerator.device.type,
        "processes": accelerator.num_processes,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "mixed_precision": accelerator.mixed_precision,
    }
