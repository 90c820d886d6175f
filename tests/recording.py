"""A recorder in place of CUDA graphs: the same function on the same memory, and nothing left in it in between.

What a step forgets to copy is NaN, or a number that no index may be, in the next one.
"""

import torch

from cnas.training.step_graphs import StepGraphs


def poison(tensor):
    with torch.no_grad():
        tensor.fill_(torch.nan if tensor.is_floating_point() else -(10**6))


def poisoning(function, memory):
    """Looks like `CudaRecord`: a record is made once, with a first run, and every replay ends with poison."""
    kept = []

    def replay():
        results = function(memory)
        if kept:
            # As in a graph, results lie in the same memory each time.
            for name, result in results.items():
                if result is not None:
                    kept[0][name].copy_(result)
        else:
            kept.append({name: None if result is None else result.clone() for name, result in results.items()})
        for tensor in memory.values():
            poison(tensor)
        return kept[0]

    calls.append(tuple(memory))
    return replay


calls = []
"""The names of what each record reads."""


def recording(dtype=None):
    """Graphs that record on a CPU."""
    calls.clear()
    return StepGraphs(torch.device("cpu"), dtype, lambda: poisoning)
