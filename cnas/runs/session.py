"""A run at work in its folder: signals are caught, the folder is locked, trackers are open."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from accelerate import Accelerator

from cnas.errors import CnasError, UserError
from cnas.runs.config import RunConfig
from cnas.runs.devices import graphs_of
from cnas.runs.folder import RunFolder, scalars
from cnas.runs.lock import lock
from cnas.training.context import RunContext, StopSignal
from cnas.training.distributed import ProcessGroup
from cnas.training.trackers import start_trackers


@contextmanager
def at_work(
    home: RunFolder,
    config: RunConfig,
    accelerator: Accelerator,
    fingerprint: str,
    check: Callable[[], bool],
    *,
    resume: bool,
    stop: StopSignal,
) -> Iterator[RunContext]:
    """What the stages of a run work with, while the context lasts.

    Args:
        home: the run folder; it gets ``config.json`` where it has none.
        config: of the run.
        accelerator: devices and processes.
        fingerprint: of the run's data.
        check: raises where the folder must not be used; says whether the run is finished already.
        resume: whether the run goes on from what is there.
        stop: becomes that of the context, and is asked by signals too.

    Raises:
        UserError: another process works in the folder or has finished the run, or a tracker does not start.
        StorageError: the folder cannot be written.
    """
    # Signals first, so that no moment is left in which one takes the process and leaves the lock.
    with stop.on_signals(), stop.on_launcher_exit(), _locked(home, accelerator, check):
        # Before the folder holds a run: a tracker that does not start leaves it free for the next try.
        start_trackers(accelerator, home.path, scalars(config.to_json()), resume=resume)
        if accelerator.is_main_process:
            home.start(config)
            if warning := home.other_precision(config):
                print(warning, flush=True)
            if resume and not home.has_progress():
                print(f"nothing to resume in {home.path}: starting from the beginning", flush=True)
        stamp = f"{home.config_hash(config)}-{fingerprint}"
        try:
            yield RunContext(
                accelerator,
                home.path,
                config.seed,
                stamp,
                stop,
                config.trainer.check_ranks,
                graphs_of(config, accelerator),
            )
        finally:
            for tracker in accelerator.trackers:
                tracker.finish()
            accelerator.trackers.clear()


@contextmanager
def _locked(home: RunFolder, accelerator: Accelerator, check: Callable[[], bool]) -> Iterator[None]:
    """The main process has the lock of the folder while the context lasts; every process learns whether it got it."""
    # Nobody may meet a folder that the main process has just filled, so all have checked it before it writes.
    processes = ProcessGroup(accelerator)
    processes.wait()
    problem: CnasError | None = None
    with ExitStack() as stack:
        if accelerator.is_main_process:
            try:
                stack.enter_context(lock(home.path))
                # Another run may have begun and ended here since the first check.
                if check():
                    raise UserError(f"run {home.path} was finished by another process meanwhile")
            except CnasError as error:
                problem = error
        (failed,) = processes.sum_numbers(float(problem is not None))
        if failed:
            raise problem or UserError(f"the main process could not begin the run in {home.path}")
        yield
