"""A process that belongs to a worker of some engine, on whichever machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


def make_supervisor() -> Callable[[Sequence[str], str, str], int]:
    """A function that starts a process, waits for it, and asks it to stop when the worker is interrupted.

    It takes the words of the command, the file for its output and the working directory, and returns the exit code.

    Engines send a function of a module by its name, and a worker would import all of `cnas` to find it. One that is
    made in a function is sent as it is, so the worker stays small.
    """

    def supervise(command: Sequence[str], log: str, place: str) -> int:
        import signal
        import subprocess
        import threading
        from pathlib import Path

        ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        if ignored and threading.current_thread() is threading.main_thread():
            # What a script starts in its background inherits that it is not to be interrupted.
            signal.signal(signal.SIGINT, signal.default_int_handler)
        with Path(log).open("ab") as output:
            pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": output, "stderr": subprocess.STDOUT}
            process: Any = subprocess.Popen(command, **pipes, cwd=place, start_new_session=True)
        while True:
            try:
                # An interrupt is noticed between two calls only.
                code = int(process.wait(0.2))
                process.stdin.close()
                return code
            except subprocess.TimeoutExpired:
                continue
            except KeyboardInterrupt:
                process.terminate()

    return supervise
