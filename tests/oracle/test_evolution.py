"""SPOS's mutation and crossover: exact on the whole of a small space, at their rates on the published one.

Legend: A architectures.
"""

from __future__ import annotations

import math
from collections import Counter
from itertools import product

import pytest
from builders import build_space
from hypothesis import given, settings
from hypothesis import strategies as st

from cnas.algorithms.spos import SPOS, crossed, mutated
from cnas.random import generator

PROPERTY = settings(derandomize=True, deadline=None, max_examples=25)
NATS, SMALL = build_space("nats"), build_space("enas_rnn", nodes=2)


def cell(*operations):
    """An architecture of NATS-Bench."""
    return NATS.architecture(list(enumerate(operations)))


def all_of(space):
    return [space.architecture(choices) for choices in product(*(row.options for row in space.decisions()))]


def fits(seen, probabilities, count):
    """Whether frequencies are those of the probabilities, by their chi-square."""
    assert set(seen) <= {outcome for outcome, probability in probabilities.items() if probability}
    expected = {outcome: count * probability for outcome, probability in probabilities.items() if probability}
    chi_square = sum((seen[outcome] - mean) ** 2 / mean for outcome, mean in expected.items())
    return abs(chi_square - (len(expected) - 1)) < 4 * math.sqrt(2 * (len(expected) - 1))


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_mutants_are_distributed_as_the_product_of_their_genes(rate):
    """A gene is kept with 1 - rate, and drawn again, perhaps as it was, with rate."""
    parent, count = SMALL.parse("0 1 1 2"), 12_000
    probabilities = {}
    for one in all_of(SMALL):
        factors = [
            (kept == now) * (1 - rate) + rate / len(decision.options)
            for kept, now, decision in zip(parent.choices, one.choices, SMALL.decisions(), strict=True)
        ]
        probabilities[one] = math.prod(factors)
    assert sum(probabilities.values()) == pytest.approx(1)
    seen = Counter(mutated(SMALL, parent, rate, generator(seed, "mutate")) for seed in range(count))
    assert fits(seen, probabilities, count)


def test_at_the_published_rate_a_gene_of_nats_bench_changes_in_8_of_100_mutants():
    parent, count = cell(3, 3, 1, 0, 4, 2), 5000
    mutants = [mutated(NATS, parent, SPOS.Config().mutation_rate, generator(seed, "mutate")) for seed in range(count)]
    for edge in range(6):
        changed = sum(one.choices[edge] != parent.choices[edge] for one in mutants)
        assert abs(changed - 0.08 * count) < 4 * math.sqrt(count * 0.08 * 0.92)
    unchanged = sum(one == parent for one in mutants) / count
    assert unchanged == pytest.approx(0.92**6, abs=4 * math.sqrt(0.25 / count))


def test_at_rate_1_a_mutant_is_uniform_and_at_0_it_is_the_parent():
    parent, count = SMALL.parse("0 1 1 2"), 6000
    seen = Counter(mutated(SMALL, parent, 1.0, generator(seed, "mutate")) for seed in range(count))
    assert fits(seen, dict.fromkeys(all_of(SMALL), 1 / 32), count)
    assert mutated(SMALL, parent, 0.0, generator(0, "mutate")) == parent


def test_children_of_two_parents_are_uniform_over_their_combinations():
    one, other, count = cell(0, 1, 2, 3, 4, 0), cell(1, 2, 3, 3, 0, 1), 6400
    genes = [sorted({a[1], b[1]}) for a, b in zip(one.choices, other.choices, strict=True)]
    combinations = [cell(*operations) for operations in product(*genes)]
    assert len(combinations) == 2**5
    seen = Counter(crossed(NATS, one, other, generator(seed, "cross")) for seed in range(count))
    assert fits(seen, dict.fromkeys(combinations, 1 / 32), count)


@PROPERTY
@given(seed=st.integers(0, 10**6), rate=st.floats(0, 1))
def test_operators_are_functions_of_the_generator_and_take_genes_from_where_they_may(seed, rate):
    one, other = (NATS.sample(generator(seed, name)) for name in ("one", "other"))
    child = crossed(NATS, one, other, generator(seed, "cross"))
    assert child == crossed(NATS, one, other, generator(seed, "cross"))
    assert all(gene in pair for gene, *pair in zip(child.choices, one.choices, other.choices, strict=True))
    mutant = mutated(NATS, one, rate, generator(seed, "mutate"))
    assert mutant == mutated(NATS, one, rate, generator(seed, "mutate"))
    assert all(pair in row.options for pair, row in zip(mutant.choices, NATS.decisions(), strict=True))


@PROPERTY
@given(seed=st.integers(0, 10**6))
def test_a_published_generation_is_half_mutants_half_crosses_and_all_new(seed):
    config = SPOS.Config()
    assert (config.population, config.mutations, config.crossovers, config.mutation_rate) == (50, 25, 25, 0.1)
    parents = [NATS.sample(generator(seed, "parent", index)) for index in range(config.parents)]
    seen = {*parents, *(NATS.sample(generator(seed, "old", index)) for index in range(40))}
    found = SPOS(NATS, config).next_generation(parents, seen, generator(seed, "breed"))
    assert len(found) == len(set(found)) == 50
    assert not seen & set(found)
    assert all(map(NATS.is_connected, found))
    genes = [{one.choices[edge] for one in parents} for edge in range(6)]
    assert all(gene in pool for one in found[25:] for gene, pool in zip(one.choices, genes, strict=True))
    nearest = [min(differences(one, parent) for parent in parents) for one in found[:25]]
    assert sum(nearest) / 25 < 2.5


def differences(one, other):
    return sum(a != b for a, b in zip(one.choices, other.choices, strict=True))


def test_where_parents_are_equal_random_ones_take_the_place_of_crosses():
    parent = cell(3, 3, 3, 3, 3, 3)
    algorithm = SPOS(NATS, SPOS.Config(population=20, mutations=0, crossovers=10))
    found = algorithm.next_generation([parent], {parent}, generator(0, "breed"))
    assert len(set(found)) == 20
    assert sum(differences(one, parent) for one in found) / 20 > 4


@pytest.mark.parametrize("left", [0, 1, 3])
def test_a_generation_ends_where_the_space_does(left):
    every = all_of(SMALL)
    parents, seen = every[:4], set(every[: len(every) - left])
    algorithm = SPOS(SMALL, SPOS.Config(population=10, mutations=4, crossovers=4))
    found = algorithm.next_generation(parents, seen, generator(left, "breed"))
    assert set(found) == set(every) - seen
