import re

import pytest
import yaml
from card_result import ENAS, card, render, result, run_result
from huggingface_hub import ModelCard

from cnas.errors import UserError
from cnas.hub import draw_cell
from cnas.hub.card import CURRICULUM_NAS
from cnas.hub.model_kind import IMAGE_CLASSIFIER, kind_of


def section(text, title):
    return re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)[1]


def front_matter(text):
    """As the Hub reads it: up to the first line of three dashes."""
    return yaml.safe_load(re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)[1])


def of(name, **more):
    """Data of another name."""
    return {"name": name, "fingerprint": "00", **more}


def seeds(*tests):
    """Results of further seeds with these perplexities on the test split."""
    return [
        run_result(seed=10 + index, retrain={"epochs": 20, "valid_perplexity": 98.0, "test_perplexity": test})
        for index, test in enumerate(tests)
    ]


def test_front_matter(tmp_path):
    (tmp_path / "README.md").write_text(render(), "utf-8")
    data = front_matter(render())
    read = ModelCard.load(tmp_path / "README.md").data
    assert {name: value for name, value in data.items() if name != "model-index"} == {
        "language": "en",
        "license": "unknown",
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["cnas", "curriculum-nas", "neural-architecture-search", "enas", "enas_rnn"],
        "datasets": ["ptb-text-only/ptb_text_only"],
        "metrics": ["perplexity"],
    }
    (model,) = data["model-index"]
    assert model["name"] == read.model_name == "run-1"
    values = {entry["dataset"]["split"]: entry["metrics"][0]["value"] for entry in model["results"]}
    assert values == {"validation": 98.126, "test": 94.2}
    assert {entry["metrics"][0]["name"] for entry in model["results"]} == {"perplexity (per word), seed 3"}
    assert [entry.metric_type for entry in read.eval_results] == ["perplexity", "perplexity"]
    assert (read.library_name, read.pipeline_tag, read.datasets) == (
        "transformers",
        "text-generation",
        data["datasets"],
    )


def test_body_tells_what_a_reader_needs(space):
    drawing = draw_cell(space, space.parse("0 0 1 1 1 3"))
    text = render(drawing=drawing)
    assert f"```text\n{drawing}\n```" in text
    assert "![A graph of 2 nodes.](figures/cell.svg)" in text
    for part in ("94.20", "98.13", "one seed", "seed 3", "K = 5", "| sequence |", "once per epoch", "123,456"):
        assert part in text
    for part in ("929,589 tokens", "0123456789abcdef", "`0 0 1 1 1 3`", "> the N mr.", "| torch | 2.13.0 |"):
        assert part in text
    assert "trust_remote_code=True" in section(text, "Use")
    assert "![" not in render(pictures={})


def test_every_setting_is_in_a_table_but_not_where_the_data_lies():
    rows = re.findall(r"^\| (\S+) \| (.*) \|$", section(render(), "Training procedure").split("<details>")[1], re.M)
    assert rows[1:] == [
        ("trainer.global_batch_size", "64"),
        ("trainer.max_grad_norm", "none"),
        ("trainer.accumulate", "true"),
        ("images.split_file", "cifar.pth"),
        ("images.betas", "0.5, 0.999"),
    ]
    assert "king" not in render()


def test_every_part_has_its_paper_once():
    papers = section(render(), "Papers")
    assert re.findall(r"^- (.*?): ", papers, re.M)[:2] == ["Curriculum", "Search algorithm"]
    assert [name for name in ("Data", "Network", "Training") if f"\n- {name}: " not in papers] == []
    assert "Hieu Pham and Jeff Dean" in papers
    assert papers.count("@misc{") == papers.count("\n- ") == len({*re.findall(r"<(http.*?)>", papers)})
    both = section(render(papers={"Search algorithm": ENAS, "Search space": ENAS}), "Papers")
    assert "- Search algorithm; search space: Hieu Pham" in both
    assert both.count("@misc{") == papers.count("@misc{")
    assert CURRICULUM_NAS.url not in render({"curriculum": None})
    assert "None is behind this model." in render(
        {"curriculum": None, "dataset": of("corpus")}, papers={}, kind=IMAGE_CLASSIFIER
    )


def test_the_snippet_runs(model_folder, monkeypatch, capsys):
    monkeypatch.chdir(model_folder.parent)
    (code,) = re.findall(r"```python\n(.*?)\n```", render(), re.DOTALL)
    assert len(code.splitlines()) == 10
    exec(compile(code, "snippet", "exec"), {})
    assert capsys.readouterr().out.split()[0] == "the"


def test_where_nothing_was_trained_there_is_nothing_to_load():
    changes = {"retrain": None, "benchmark": {"dataset": "cifar10", "test_accuracy": 94.37}}
    text = render(changes, kind=kind_of(run_result(**changes)))
    assert front_matter(text)["pipeline_tag"] == "image-classification"
    assert "```" not in section(text, "Use")
    assert "no model to load" in section(text, "Use")
    assert "| test_accuracy | 94.37 |" in section(text, "Results")


@pytest.mark.parametrize(
    ("found", "task"),
    [
        ({"retrain": {"test_perplexity": 90.0}}, "text-generation"),
        ({"retrain": {"valid_accuracy": 90.0}}, "image-classification"),
        ({"retrain": None, "search": {"valid": {"valid_accuracy": 50.0}}}, "image-classification"),
        ({"retrain": None}, "text-generation"),
    ],
)
def test_the_kind_of_a_model_is_known_by_what_was_measured(found, task):
    assert kind_of(run_result(**found)).task == task


def test_no_curriculum_is_said():
    text = render({"curriculum": None})
    assert "without a curriculum" in text
    assert "K = " not in text
    assert "nothing was searched" in render({"search": None})


def test_missing_numbers_are_left_out():
    data = front_matter(render({"retrain": {"epochs": 1, "test_perplexity": None}}))
    assert "model-index" not in data
    assert "No result was recorded" in render({"retrain": None, "environment": {}, "search": {}})


def test_data_of_no_hub_id_is_no_hub_data():
    assert "datasets" not in front_matter(render({"dataset": of("pydoc")}))
    assert front_matter(render({"dataset": of("pydoc")}))["language"] == "en"
    assert "language" not in front_matter(render({"dataset": of("corpus")}))
    named = front_matter(render({"dataset": of("ptb_text_only")}))
    assert named["datasets"] == ["ptb-text-only/ptb_text_only"]


def test_a_part_of_a_split_is_not_the_split():
    dataset = {**result()["dataset"], "used": {"train": 929589, "test": 500}}
    text = render({"dataset": dataset})
    assert "| test (the first 500 of 82,430) | perplexity (per word) | 94.20 |" in text
    entries = front_matter(text)["model-index"][0]["results"]
    assert [entry["dataset"].get("args") for entry in entries] == [None, {"first": 500, "of": 82430}]


def test_several_seeds_have_a_mean_and_a_spread_and_the_model_its_own_number():
    text = section(render(others=seeds(95.2, 96.2)), "Results")
    assert "| this model (seed 3) |" in text
    assert "| test | perplexity (per word) | 94.20 | 95.20 ± 1.00 (n = 3) |" in text
    assert "3 runs that differ in the seed alone (seeds 3, 10, 11)" in text
    assert "one seed" not in text
    (model,) = front_matter(render(others=seeds(95.2)))["model-index"]
    assert model["results"][1]["metrics"][0]["value"] == 94.2


def test_a_seed_without_the_number_is_not_counted():
    broken = run_result(seed=20, retrain={"test_perplexity": None, "valid_perplexity": 99.126})
    text = section(render(others=[broken]), "Results")
    assert "| validation | perplexity (per word) | 98.13 | 98.63 ± 0.71 (n = 2) |" in text
    assert "| test | perplexity (per word) | 94.20 | – |" in text


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({}, "others must differ in their seed, got seed 3 twice"),
        ({"seed": 4, "algorithm": "rsps"}, "got algorithm 'rsps' beside 'enas'"),
        ({"seed": 4, "curriculum": None}, "got curriculum None beside"),
        ({"seed": 4, "dataset": of("corpus")}, "got dataset '00' beside '0123456789abcdef'"),
    ],
)
def test_what_is_no_further_seed_is_refused(other, message):
    with pytest.raises(UserError, match=message):
        card(others=[run_result(**other)])


def test_an_image_classifier_is_other_values_of_the_same_card():
    changes = {
        "space": "nats",
        "dataset": of("cifar10"),
        "retrain": {"epochs": 1, "valid_accuracy": 90.5, "test_accuracy": 91.25},
        "benchmark": {"dataset": "cifar10", "test_accuracy": 94.37, "rank": 1, "regret": 0.0},
    }
    text = render(changes, kind=IMAGE_CLASSIFIER, samples=[])
    data = front_matter(text)
    assert (data["pipeline_tag"], data["metrics"]) == ("image-classification", ["accuracy"])
    assert data["datasets"] == ["uoft-cs/cifar10"]
    values = {entry["dataset"]["split"]: entry["metrics"][0]["value"] for entry in data["model-index"][0]["results"]}
    assert values == {"validation": 90.5, "test": 91.25}
    assert "| cifar10 | test | accuracy (%) | 91.25 |" in text
    assert "| rank | 1 |" in text
    assert "| regret | 0.00 |" in text
    assert "perplexity" not in text
    assert "language" not in data


def test_what_was_looked_up_has_a_spread_over_seeds_too():
    def found(rank, accuracy, **more):
        record = {
            "dataset": "cifar10",
            "test_accuracy": 90.0,
            "rank": rank,
            "index": 9,
            "test_accuracies": {"cifar100": accuracy},
        }
        return {"retrain": None, "benchmark": record | more}

    others = [run_result(seed=4, **found(5, 62.0)), run_result(seed=5, **found(8, 64.0, kendall_tau=None))]
    text = section(render(found(2, 60.0, kendall_tau=0.5), kind=IMAGE_CLASSIFIER, others=others), "Results")
    assert "| looked up | this cell (seed 3) | mean ± standard deviation |" in text
    assert "| rank | 2 | 5.00 ± 3.00 (n = 3) |" in text
    assert "| test_accuracies.cifar100 | 60.00 | 62.00 ± 2.00 (n = 3) |" in text
    for alone in ("| dataset | cifar10 | – |", "| index | 9 | – |", "| kendall_tau | 0.50 | – |"):
        assert alone in text
    assert "(seeds 3, 4, 5)" in text


def test_what_is_said_of_a_split_is_no_count():
    splits = {"train": {"images": 5000, "from": "half of train"}, "test": {"images": 2000}}
    text = render({"dataset": of("digits", splits=splits)})
    assert "train 5,000 images (half of train); test 2,000 images |" in text


def test_bad_steps_are_told_in_a_sentence_and_nothing_is_where_there_were_none():
    none = {"bad_steps": 0, "recoveries": 0, "left_out": 0}
    assert "bad step" not in render({"search": none, "retrain": none}).split("<details>")[0]
    found = render({"search": none | {"left_out": 3}, "retrain": none | {"bad_steps": 1_234, "recoveries": 2}})
    assert "In the search 3 scores or architecture steps were no numbers and did not count." in found
    assert (
        "In the training 1,234 bad steps updated nothing, and it went back to the start of an epoch 2 time(s)" in found
    )
