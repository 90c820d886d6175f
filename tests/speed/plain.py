"""Time of recurrent steps beside the same steps written plainly; run by hand on an idle machine.

    make speed                                  # B=64, T=35, H=300, V=10,000, two threads
    python tests/speed/plain.py --hidden 120 --batch 32 --threads 1

On a GPU the plain form is what is compiled and recorded (``SuperNet.pure``); in host memory ``forward`` has one of its
own where that pays: the hand-written backward pass of DARTS stays where plain takes 1.3 times as long or more. Both are
measured in turns in one run, with the same weights, batch and dropouts; the median of the repeats counts.

Legend: B sequences, T tokens, H hidden units, V words, K candidates.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from measuring import TEXT, pair, read_options
from torch import Tensor

from cnas.random import DropoutSeeds, generator
from cnas.spaces import DartsRnnSpace, EnasRnnSpace
from cnas.spaces.pure import PureForward, as_it_is
from cnas.types import Batch, Output, Routing

CANDIDATES = 5


def main() -> None:
    """Print a line per figure."""
    options = read_options(str(__doc__), TEXT)
    torch.set_num_threads(options.threads)
    for space in (DartsRnnSpace, EnasRnnSpace):
        bench = Bench(space, options)
        for name, work in bench.rows().items():
            own, plain = pair(lambda work=work: work(True), lambda work=work: work(False), options.repeats)
            title = f"{space.name}: {name}"
            print(
                f"{title:32s} {own * 1e3:8.1f} ms   plain {plain * 1e3:8.1f} ms   ratio {plain / own:.2f}", flush=True
            )


class Bench:
    """A supernet of a space, and one batch."""

    def __init__(self, space: type[DartsRnnSpace | EnasRnnSpace], options: argparse.Namespace) -> None:
        torch.manual_seed(0)
        self.space = space(vocab_size=options.vocabulary, hidden_size=options.hidden)
        self.supernet = self.space.build_supernet()
        rows, length = options.batch, options.length
        tokens = torch.randint(options.vocabulary, (rows, length + 1))
        seeds = DropoutSeeds(0, "dropout", 1, slice(0, rows), rows)
        state = torch.zeros(rows, options.hidden)
        self.batch = Batch(tokens[:, :-1], tokens[:, 1:].contiguous(), torch.arange(rows), state, seeds)
        found = [self.space.sample(generator(0, "path", index)) for index in range(CANDIDATES)]
        self.paths = [self.space.routing(architecture) for architecture in found]
        self.scores = torch.zeros(1, *self.space.shape, requires_grad=True)
        self.every = tuple(pair for decision in self.space.decisions() for pair in decision.options)

    def rows(self) -> dict[str, Callable[[bool], object]]:
        """What is measured, either way."""
        return {
            "mixture, weights": lambda own: self.weight_step(own, self.mixture(self.scores.detach())),
            "mixture, α": self.arch_step,
            "path, weights": lambda own: self.weight_step(own, self.paths[0]),
            f"scoring K={CANDIDATES}": self.score,
        }

    def mixture(self, scores: Tensor) -> Routing:
        """Everything at once."""
        return Routing(scores.softmax(-1), (self.every,))

    def output(self, own: bool, routing: Routing) -> Output:
        """The supernet's own, or the plain one."""
        if own:
            return self.supernet(self.batch, routing)
        found = self.supernet.pure(self.batch, routing)
        assert found is not None
        return self.plain(found)

    def plain(self, forward: PureForward) -> Output:
        """A pure forward, as it is."""
        weights = dict(self.supernet.named_parameters())
        return forward.function(
            {**forward.tensors, **{slot: weights[name] for slot, name in forward.weights.items()}}, as_it_is, None
        )

    def weight_step(self, own: bool, routing: Routing) -> None:
        """Forward and backward pass, with dropouts."""
        self.supernet.zero_grad()
        output = self.output(own, routing)
        (output.losses.mean() + output.penalty).backward()

    def arch_step(self, own: bool) -> None:
        """The gradient of α alone."""
        self.supernet.requires_grad_(False)
        torch.autograd.grad(self.output(own, self.mixture(self.scores)).losses.mean(), self.scores)
        self.supernet.requires_grad_(True)

    @torch.no_grad()
    def score(self, own: bool) -> Tensor:
        """Losses of K paths."""
        self.supernet.eval()
        states = [None] * CANDIDATES
        if own:
            losses, _ = self.supernet.forward_many(self.batch, self.paths, states)
        else:
            found = self.supernet.pure_many(self.batch, self.paths, states)
            assert found is not None
            losses = self.plain(found).losses
        self.supernet.train()
        return losses


if __name__ == "__main__":
    main()
