"""Write the model card of a finished run anew, also with mean and spread over several seeds.

cnas card runs/first-s1
cnas card runs/first-s1 --seeds runs/first-s2 runs/first-s3
cnas card runs/first-s1 --license cc-by-4.0

A run leaves a card already; it has the numbers of one seed. With --seeds its table also has mean ± standard deviation
over runs that differ in the seed alone; --license names that of the weights, in place of "unknown". What is not given
again is not kept. `cnas push` then takes the card as it is.
"""

from __future__ import annotations

import argparse


def add_flags(parser: argparse.ArgumentParser) -> None:
    """What ``cnas card`` takes."""
    parser.add_argument("run", metavar="RUN", help="folder of a finished run, whose model the card is about")
    parser.add_argument(
        "--seeds", nargs="+", default=[], metavar="RUN", help="finished runs that differ in the seed alone"
    )
    parser.add_argument(
        "--license", default="", metavar="ID", help="of the weights, as the Hub calls it (default: unknown)"
    )


def run(given: argparse.Namespace) -> str:
    """The path of the card.

    Raises:
        UserError: a folder is not that of a finished run, the runs are no seeds of one experiment, or there is no such
            identifier of a licence.
        StorageError: the card cannot be written.
    """
    from cnas.hub import write_card

    return str(write_card(given.run, given.seeds, given.license))
