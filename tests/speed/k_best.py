"""Time of the k best architectures, beside an enumeration of all 15,625 of NATS-Bench; run by hand on an idle machine.

    make speed
    python tests/speed/k_best.py

Measured in turns in one run; the median of the repeats counts. K = 15 is to take at most a millisecond.
"""

from __future__ import annotations

import torch
from measuring import pair

from cnas.algorithms import k_best

K, REPEATS = 15, 51


def main() -> None:
    """Print a line for NATS-Bench, and one for the recurrent cell of DARTS, which cannot be enumerated."""
    torch.set_num_threads(1)
    draws = torch.Generator().manual_seed(0)
    cell = [torch.randn(5, generator=draws).log_softmax(0) for _ in range(6)]
    recurrent = [torch.randn(4 * node, generator=draws).log_softmax(0) for node in range(1, 9)]

    def enumerate_all() -> None:
        sums = cell[0]
        for row in cell[1:]:
            sums = (sums[:, None] + row).flatten()
        sums.topk(K)

    for name, rows in (("nats", cell), ("darts_rnn", recurrent)):
        own, other = pair(lambda rows=rows: k_best(rows, K), enumerate_all, REPEATS)
        print(f"k_best K={K}, {name:10s} {own * 1e3:7.3f} ms   enumeration of nats {other * 1e3:7.3f} ms")


if __name__ == "__main__":
    main()
