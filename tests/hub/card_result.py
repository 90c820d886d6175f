"""The result and configuration of a made-up run, and its card."""

from cnas.hub import Card, render_card
from cnas.runs.result import RunResult
from cnas.types import Paper

ENAS = Paper(
    "Efficient Neural Architecture Search via Parameter Sharing", "Hieu Pham, Jeff Dean", 2018, "https://a.b/c"
)
CONFIG = {
    "version": 1,
    "data": "/home/ada king/texts/corpus",
    "trainer": {"global_batch_size": 64, "max_grad_norm": None, "accumulate": True},
    "images": {"split_file": "/home/ada king/splits/cifar.pth", "betas": [0.5, 0.999]},
}


def result(**changes):
    return {
        "recipe": "ptb_cl_enas",
        "space": "enas_rnn",
        "algorithm": "enas",
        "curriculum": {"name": "uncertainty", "num_candidates": 5, "k": 5, "refresh": "epoch", "unit": "sequence"},
        "seed": 3,
        "dataset": {
            "name": "ptb-text-only/ptb_text_only",
            "fingerprint": "0123456789abcdef",
            "splits": {"train": {"sentences": 42068, "tokens": 929589}, "test": {"sentences": 3761, "tokens": 82430}},
            "used": {"train": 929589, "test": 82430},
        },
        "architecture": {"space": "enas_rnn", "string": "0 0 1 1 1 3"},
        "search": {"epochs": 30, "steps": 1500, "seconds": 12.3, "valid": {}},
        "retrain": {"epochs": 20, "parameters": 123456, "valid_perplexity": 98.126, "test_perplexity": 94.2},
        "environment": {"python": "3.11.7", "torch": "2.13.0"},
        **changes,
    }


def run_result(**changes):
    return RunResult.from_json(result(**changes))


def card(changes=None, **options):
    settings = {
        "drawing": "node 1 = tanh(input)",
        "pictures": {"cell": "A graph of 2 nodes."},
        "samples": ["the N mr."],
        "model_name": "run-1",
        "papers": {"Search algorithm": ENAS},
        "config": CONFIG,
    }
    return Card(result=run_result(**(changes or {})), **{**settings, **options})


def render(changes=None, **options):
    return render_card(card(changes, **options))


def everywhere(text):
    """A card with ``text`` wherever it may stand."""
    changes = {
        **dict.fromkeys(("recipe", "preset", "space", "algorithm"), text),
        "dataset": {"name": text, "fingerprint": text, "splits": {text: {text: text}}, "used": {text: 1}},
        "curriculum": {"name": text, "num_candidates": 5, "k": 5, "refresh": text, "unit": text},
        "architecture": {"string": text},
        "environment": {text: text},
        "benchmark": {"dataset": text, "test_accuracy": 1.5, f"of {text}": {text: text}},
    }
    options = {
        **dict.fromkeys(("model_name", "folder", "drawing"), text),
        "pictures": {"cell": text},
        "sizes": [(text, text, text)] * 2,
        "samples": [text],
        "config": {text: {text: [text, text]}},
        "papers": {text: Paper(text, text, 2000, f"no {text}")},
    }
    return render(changes, **options)
