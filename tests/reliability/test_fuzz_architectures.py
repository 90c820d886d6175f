"""Architectures as text from anywhere: every space reads them back exactly, or refuses them, and soon."""

import contextlib
import random
import time

import pytest
import torch
from builders import build_space
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import Counted

from cnas import spaces
from cnas.errors import UserError
from cnas.spaces import DartsRnnSpace

MOST_SECONDS = 5.0
"""Of the processor, against hanging: the slowest takes a few milliseconds."""
HUGE = 10_000_000
PIECES = [
    *"0123456789 |~+,()[]'\"\n\t\x00\\_-.",
    "none",
    "tanh",
    "relu",
    "identity",
    "skip_connect",
    "nor_conv_3x3",
    "Genotype(recurrent=[",
    "concat=range(",
    "os.system",
    "__import__",
    "\u202e",
    "\ud800",
    "٣",
    "１",
    "9" * 30,
]

TEXTS = st.lists(st.sampled_from(PIECES) | st.characters(), max_size=40).map("".join)


def every_space():
    return {name: build_space(name) for name in spaces.names()} | {"darts, two": DartsRnnSpace(nodes=2, concat=(2,))}


def parsed(space, text):
    """Read, write, read: the same architecture."""
    assert seconds(space, text) < MOST_SECONDS, (space.name, text[:100])
    found = space.parse(text)
    assert space.parse(found.to_str()) == found
    assert space.architecture(found.choices).to_str() == found.to_str()
    assert found.to_json() == {"space": space.name, "string": found.to_str()}


def seconds(space, text):
    """What a look at ``text`` takes."""
    start = time.process_time()
    with contextlib.suppress(UserError):
        space.parse(text)
    return time.process_time() - start


def edited(text, draws):
    """``text`` with a few pieces put in, taken out or exchanged."""
    for _ in range(draws.randint(0, 3)):
        start = draws.randint(0, len(text))
        end = min(len(text), start + draws.choice((0, 1, 1, 5)))
        text = text[:start] + draws.choice(["", *PIECES]) + text[end:]
    return text


def test_an_architecture_is_read_back_exactly_or_refused(budget, measured):
    counted, known = Counted(), every_space()

    @settings(derandomize=True, deadline=None, max_examples=budget(300, 20_000), database=None)
    @given(st.sampled_from(sorted(known)), TEXTS)
    def words(name, text):
        counted.add(lambda: parsed(known[name], text))

    @settings(derandomize=True, deadline=None, max_examples=budget(700, 40_000), database=None)
    @given(st.sampled_from(sorted(known)), st.randoms(use_true_random=False))
    def nearly(name, draws):
        whole = known[name].sample(torch.Generator().manual_seed(draws.randrange(10**6))).to_str()
        counted.add(lambda: parsed(known[name], edited(whole, draws)))

    words()
    nearly()
    counted.both()
    measured(f"{counted}; {len(known)} spaces")


def test_an_architecture_of_ten_megabytes_is_refused_at_once(measured):
    slowest, count = 0.0, 0
    for space in every_space().values():
        for filler in ("0 ", "(", "tanh 0 ", "|none~0|+", "9", "Genotype(recurrent=[('tanh', 0), "):
            text = filler * (HUGE // len(filler))
            start = time.process_time()
            with pytest.raises(UserError) as refused:
                space.parse(text)
            slowest, count = max(slowest, time.process_time() - start), count + 1
            assert len(str(refused.value)) < 500
    assert slowest < MOST_SECONDS
    measured(f"{count} of {count} refused, the slowest in {1000 * slowest:.1f} ms")


def fuzzed(space):
    counted = Counted()
    for seed in range(200):
        counted.add(lambda seed=seed: parsed(space, edited("0 0 1 1", random.Random(seed))))


def test_a_reader_that_believes_its_input_is_found():
    """A mutant: what cannot be read is taken for a number."""
    space = build_space("enas_rnn")

    class Believing(type(space)):
        def parse(self, text):
            try:
                return super().parse(text)
            except UserError:
                return int(text)

    believing = Believing(nodes=space.nodes)
    with pytest.raises(ValueError, match="invalid literal"):
        fuzzed(believing)
