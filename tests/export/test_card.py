import re

import pytest
import yaml
from huggingface_hub import ModelCard
from hypothesis import given, settings
from hypothesis import strategies as st

from cnas.export import draw_cell, render_card
from cnas.export.card import CURRICULUM_NAS
from cnas.types import Paper

ENAS = Paper(
    "Efficient Neural Architecture Search via Parameter Sharing", "Hieu Pham, Jeff Dean", 2018, "https://a.b/c"
)

HOSTILE = [
    "a\n---\nlicense: mit",
    "---",
    "x\nlicense: apache-2.0\ntags: [evil]",
    "```\n# Owned\n```python",
    "<script>alert(1)</script>",
    "{{ 7 * 7 }}{% raw %}",
    "\u202e| a | b |\x00\x1b[31m",
    "': [\"!!python/object/apply:os.system ['id']",
    "[click](javascript:alert(1)) `code` **bold**",
    "/home/ada/secret/corpus",
    "C:\\Users\\ada\\corpus",
    "",
]

KEYS = {"library_name", "pipeline_tag", "tags", "metrics", "model-index"}


def result(**changes):
    return {
        "recipe": "ptb_cl_enas",
        "space": "enas_rnn",
        "algorithm": "enas",
        "curriculum": {"name": "uncertainty", "k": 5, "refresh": "epoch", "unit": "sequence"},
        "seed": 3,
        "dataset": {
            "name": "ptb-text-only/ptb_text_only",
            "fingerprint": "0123456789abcdef",
            "splits": {"train": {"sentences": 42068, "tokens": 929589}},
        },
        "architecture": {"space": "enas_rnn", "string": "0 0 1 1 1 3"},
        "search": {"epochs": 30, "steps": 1500, "seconds": 12.3, "valid": {}},
        "retrain": {"epochs": 20, "parameters": 123456, "valid_perplexity": 98.126, "test_perplexity": 94.2},
        "environment": {"python": "3.11.7", "torch": "2.13.0"},
        **changes,
    }


def render(changes=None, **options):
    settings = {"drawing": "node 1 = tanh(input)", "samples": ["the N mr."], "model_name": "run-1", "papers": [ENAS]}
    return render_card(result(**(changes or {})), **{**settings, **options})


def front_matter(card):
    """As the Hub reads it: up to the first line of three dashes."""
    return yaml.safe_load(re.match(r"---\n(.*?)\n---\n", card, re.DOTALL).group(1))


def test_front_matter():
    data = front_matter(render())
    assert set(data) == KEYS | {"datasets"}
    assert data["library_name"] == "transformers"
    assert data["pipeline_tag"] == "text-generation"
    assert data["tags"] == ["cnas", "curriculum-nas", "neural-architecture-search", "enas"]
    assert data["datasets"] == ["ptb-text-only/ptb_text_only"]
    (model,) = data["model-index"]
    assert model["name"] == "run-1"
    values = {entry["dataset"]["split"]: entry["metrics"][0]["value"] for entry in model["results"]}
    assert values == {"validation": 98.126, "test": 94.2}
    assert ModelCard(render()).data.eval_results[0].metric_type == "perplexity"


def test_body_tells_what_a_reader_needs(space):
    drawing = draw_cell(space, space.parse("0 0 1 1 1 3"))
    card = render(drawing=drawing)
    assert f"```text\n{drawing}\n```" in card
    for text in ("94.20", "98.13", "one seed", "seed 3", "K = 5", "every sequence", "once per epoch", "123,456"):
        assert text in card
    for text in ("929,589 tokens", "0123456789abcdef", "0 0 1 1 1 3", "> the N mr.", "torch: 2.13.0"):
        assert text in card
    assert "10.1145/3503161.3548271" in card
    assert "Hieu Pham and Jeff Dean" in card
    assert card.count("@misc{") == 2
    assert render(papers=[CURRICULUM_NAS]).count("@misc{") == 1


def test_the_snippet_runs(model_folder, monkeypatch, capsys):
    monkeypatch.chdir(model_folder.parent)
    (code,) = re.findall(r"```python\n(.*?)\n```", render(), re.DOTALL)
    assert len(code.splitlines()) == 10
    exec(compile(code, "snippet", "exec"), {})
    assert capsys.readouterr().out.split()[0] == "the"


def test_no_curriculum_is_said():
    card = render({"curriculum": None})
    assert "without a curriculum" in card
    assert "K =" not in card


def test_missing_and_infinite_numbers_are_left_out():
    data = front_matter(render({"retrain": {"epochs": 1, "test_perplexity": float("inf")}}))
    assert "model-index" not in data
    assert "No result was recorded" in render({"retrain": None, "environment": None, "search": {}})
    assert render_card({}, drawing="", samples=[], model_name="m").startswith("---\n")


def test_data_of_no_hub_id_is_no_hub_data():
    assert "datasets" not in front_matter(render({"dataset": {"name": "pydoc"}}))


def everywhere(text):
    changes = {
        "recipe": text,
        "space": text,
        "algorithm": text,
        "seed": text,
        "dataset": {"name": text, "fingerprint": text, "splits": {text: text}},
        "curriculum": {"name": text, "k": text, "refresh": text, "unit": text},
        "environment": {text: text},
    }
    return render(changes, model_name=text, folder=text, samples=[text], drawing=text)


def prose(card):
    """The card without its code blocks and code spans."""
    outside = re.sub(r"^(`{3,})\w*\n.*?\n\1$", "", card, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"(?<!\\)`[^`\n]*`", "", outside)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_changes_nothing_around_it(text):
    card = everywhere(text)
    data = front_matter(card)
    assert set(data) - {"datasets"} == KEYS
    assert data["tags"][:3] == ["cnas", "curriculum-nas", "neural-architecture-search"]
    headings = [line for line in prose(card).splitlines() if line.startswith("#")]
    assert len(headings) == 8
    assert "<script" not in prose(card)
    assert not re.search(r"(?<!\\)\]\(javascript", prose(card).split("\n---\n")[1])
    assert "49" not in card
    assert not {"\u202e", "\x00", "\x1b"} & set(card)
    if "ada" in text:
        assert "/home" not in render({"dataset": {"name": text}}, model_name=text, folder=text)
        assert "Users" not in render({"dataset": {"name": text}}, model_name=text, folder=text)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.text(alphabet=st.sampled_from([*"-`~\n\r<>#|[]{}%!&:'\"\\/ \t", "a", "1", "\u2028", "\x85"]), max_size=14))
def test_any_text_leaves_the_front_matter_alone(text):
    card = everywhere(text)
    assert set(front_matter(card)) - {"datasets"} == KEYS
    assert len([line for line in prose(card).splitlines() if line.startswith("#")]) == 8
