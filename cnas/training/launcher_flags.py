"""The settings of `accelerate launch`: a run follows them or refuses them in one line; nothing is dropped in silence.

The launcher passes most of it on as variables of the environment, which is also how its configuration file gets here.
Flags that it passes on to nobody are read from its command line.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
from accelerate.utils import get_int_from_env

from cnas.errors import UserError

PRECISION = "ACCELERATE_MIXED_PRECISION"
"""The variable in which the launcher names a precision; it says "no" as well where it was given none."""
_HONOURED = """
config_file quiet module no_python debug cpu multi_gpu mixed_precision num_processes num_machines
num_cpu_threads_per_process enable_cpu_affinity gpu_ids same_network machine_rank main_process_ip
main_process_port tee log_dir role rdzv_backend rdzv_conf max_restarts monitor_interval mpirun_hostfile
training_script training_script_args
"""
HONOURED = frozenset(_HONOURED.split())
"""Flags of the launcher that it follows itself, or Accelerate does in each process. All others would change nothing."""
REFUSED = {
    "ACCELERATE_USE_DEEPSPEED": "use_deepspeed",
    "ACCELERATE_USE_FSDP": "use_fsdp",
    "ACCELERATE_USE_MEGATRON_LM": "use_megatron_lm",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "use_parallelism_config",
    "ACCELERATE_DYNAMO_BACKEND": "dynamo_backend",
    "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "gradient_accumulation_steps",
    "ACCELERATE_GRADIENT_CLIPPING": "gradient_clipping",
    "ACCELERATE_IN_TPU_POD": "tpu_use_cluster",
    "XLA_USE_BF16": "tpu",
    "XLA_DOWNCAST_BF16": "downcast_bf16",
}
"""Variables that stand for other flags, which a configuration file may have set too."""
_OFF = {"", "0", "false", "no", "none", "auto"}
_INSTEAD = {
    "gradient_accumulation_steps": "; use --trainer.micro-batch-size and --retrain.micro-batch-size",
    "gradient_clipping": "; use --trainer.max-grad-norm and --retrain.max-grad-norm",
}
_WORLD = ["WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE"]


def launched_precision() -> str:
    """The precision that `accelerate launch` was given, "no" where it was given none or there is no launcher."""
    return os.environ.get(PRECISION) or "no"


def refuse_unmet(precision: str, words: Sequence[str] | None = None) -> None:
    """Refuse settings of `accelerate launch` that the run would not follow.

    Args:
        precision: of the run.
        words: of the launcher's command line, its own flags first; looked up where None.

    Raises:
        UserError: another precision, more processes than there are, or a setting that would change nothing.
    """
    given = launched_precision()
    if given not in ("no", precision):
        raise UserError(
            f"mixed_precision is {precision} here and {given} in accelerate launch; leave out one of the two"
        )
    launched = PRECISION in os.environ
    if words is None:
        words = _launcher_words() if launched else []
    inherited = [(flag, os.environ[name]) for name, flag in REFUSED.items() if name in os.environ]
    for flag, value in [*inherited, *_changed(words)]:
        if value.lower() not in _OFF and (flag, value) != ("gradient_accumulation_steps", "1"):
            instead = _INSTEAD.get(flag, "")
            raise UserError(f"--{flag} of accelerate launch must be left out, got {value[:60]!r}{instead}")
    # It gives an address to several processes, and then starts one.
    alone = "ACCELERATE_USE_CPU" in os.environ and get_int_from_env(_WORLD, 0) == 0
    if launched and alone and "MASTER_ADDR" in os.environ:
        raise UserError(
            "--num_processes of accelerate launch must be 1 where there are no several GPUs: it starts one process "
            "only; use torchrun --nproc-per-node (or, if one is meant, unset MASTER_ADDR)"
        )


def _changed(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Flags on the launcher's command line that nobody follows."""
    if not words:
        return
    from accelerate.commands.launch import launch_command_parser

    parser = launch_command_parser()
    given, usual = vars(parser.parse_args(list(words))), vars(parser.parse_args(["script"]))
    # Beside the flags' values the parser tells which were given, as a set.
    for name, value in given.items():
        if name not in HONOURED and value != usual.get(name) and not isinstance(value, set):
            yield name, str(value)


def _launcher_words() -> list[str]:
    """What follows `accelerate launch` on the command line of this process's parent; nothing where that is another."""
    try:
        parent = psutil.Process().parent()
        words = parent.cmdline() if parent else []
    except psutil.Error:
        return []
    names = ("accelerate launch", "accelerate-launch", "accelerate.commands.launch", "accelerate_cli launch")
    for end in range(1, len(words)):
        if " ".join(Path(word).name for word in words[:end]).endswith(names):
            return words[end:]
    return []
