"""Seconds to start: the help of `cnas`, and ``import cnas`` beside what `transformers` takes for its own base class.

python tests/speed/startup.py       # the median of seven new processes each, taken in turns
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

STARTS = {
    "cnas --help": ["-m", "cnas", "--help"],
    "import cnas": ["-c", "import cnas"],
    "the base class": ["-c", "from transformers import PreTrainedModel"],
    "import cnas and the base class": ["-c", "import cnas; from transformers import PreTrainedModel"],
}


def main() -> None:
    """Print a line for each of them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=7)
    repeats = parser.parse_args().repeats
    seconds: dict[str, list[float]] = {name: [] for name in STARTS}
    for _ in range(repeats):
        for name, words in STARTS.items():
            begun = time.perf_counter()
            subprocess.run([sys.executable, *words], stdout=subprocess.DEVNULL, check=True)
            seconds[name].append(time.perf_counter() - begun)
    base = statistics.median(seconds["the base class"])
    for name, each in seconds.items():
        middle = statistics.median(each)
        print(f"{name:32} {middle:6.2f} s  {middle / base:5.2f} x the base class")


if __name__ == "__main__":
    main()
