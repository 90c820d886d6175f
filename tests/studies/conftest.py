import itertools
import json

import pytest
import yaml

from cnas.benchmarks.table_files import write_columns
from cnas.random import generator
from cnas.spaces import EnasRnnSpace


@pytest.fixture(scope="session")
def cells(tmp_path_factory):
    """A table of a dozen cells with made-up perplexities; returns its path."""
    space = EnasRnnSpace()
    names = [space.sample(generator(1, "cells", index)).to_str() for index in range(12)]
    alike = {"space": "enas_rnn", "dataset": "corpus", "training": json.dumps({"epochs": 3})}
    rows = [
        {"arch": name, "seed": 1, **alike, "valid_perplexity": 100.0 + place, "test_perplexity": 90.0 + place}
        for place, name in enumerate(names)
    ]
    path = tmp_path_factory.mktemp("table") / "cells.parquet"
    write_columns({key: [row[key] for row in rows] for key in rows[0]}, path)
    return path


@pytest.fixture
def plan_values(home, cells):
    """A plan of the tiny recipe, search only: two arms, two seeds."""
    return {
        "question": "Does the curriculum help?",
        "preset": "tiny_recipe/tiny",
        "flags": {
            "data": str(home / "corpus"),
            "table": str(cells),
            "space.nodes": 8,
            "algorithm": "rsps",
            "search.samples": 3,
            "retrain.num_train_epochs": 0,
            "rank_every": 1,
            "text.search_tokens": 300,
            "num_train_epochs": 2,
        },
        "seeds": [1, 2],
        "arms": {"plain": {"curriculum": False}, "curriculum": {"curriculum.name": "uncertainty"}},
        "endpoint": "kendall_tau",
        "comparisons": [{"arm": "curriculum", "against": ["plain"]}],
        "rules": {"no_useful_effect_below": 0.05, "confidence": 0.95},
    }


@pytest.fixture
def plan_file(tmp_path, plan_values):
    """Writes a plan with some values changed, those that are None left out; returns its path."""
    numbers = itertools.count()

    def write(**changes):
        values = {name: value for name, value in {**plan_values, **changes}.items() if value is not None}
        file = tmp_path / f"plan{next(numbers)}.yaml"
        file.write_text(yaml.safe_dump(values, sort_keys=False), "utf-8")
        return file

    return write
