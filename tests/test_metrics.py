import itertools
import math
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cnas.metrics
from cnas.errors import UserError
from cnas.metrics import perplexity

SETTINGS = settings(derandomize=True, deadline=None, max_examples=15)


@pytest.fixture(scope="module")
def metric(tmp_path_factory):
    return cnas.metrics.WordPerplexity(cache_dir=str(tmp_path_factory.mktemp("metric")))


@SETTINGS
@given(st.floats(1, 1e4), st.integers(1, 10**6))
def test_a_uniform_guess_among_n_words_has_perplexity_n(words, tokens):
    assert perplexity(tokens * math.log(words), tokens) == pytest.approx(words)


def test_too_large_is_infinite():
    assert perplexity(1e6, 1) == math.inf
    assert math.isnan(perplexity(math.nan, 1))


@pytest.mark.parametrize("tokens", [0, -3])
def test_no_words_is_an_error(tokens):
    with pytest.raises(UserError, match=f"tokens must be at least 1, got {tokens}"):
        perplexity(1.0, tokens)


def test_the_metric_is_the_exponential_of_the_mean(metric):
    assert metric.compute(losses=[1.0, 2.0, 6.0]) == {"word_perplexity": pytest.approx(math.exp(3)), "tokens": 3}


@SETTINGS
@given(st.lists(st.floats(0, 20), min_size=1, max_size=20), st.lists(st.integers(0, 20), max_size=4))
def test_batches_make_no_difference(metric, losses, cuts):
    whole = metric.compute(losses=losses)
    edges = [0, *sorted(min(cut, len(losses)) for cut in cuts), len(losses)]
    for start, stop in itertools.pairwise(edges):
        if start < stop:
            metric.add_batch(losses=losses[start:stop])
    assert metric.compute() == whole
    assert whole["word_perplexity"] == perplexity(math.fsum(losses), len(losses))


def test_one_list_per_text_is_the_same(metric):
    assert metric.compute(losses=[[1.0, 2.0], [6.0]]) == metric.compute(losses=[1.0, 2.0, 6.0])


def test_without_evaluate_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "evaluate", None)
    cnas.metrics._word_perplexity_class.cache_clear()
    with pytest.raises(ImportError, match=r"pip install cnas\[eval\]"):
        _ = cnas.metrics.WordPerplexity
    with pytest.raises(AttributeError, match="no attribute 'Bleu'"):
        _ = cnas.metrics.Bleu
