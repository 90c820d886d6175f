"""What ``compute_metrics`` gets and what becomes of it, for text and images, networks and subnets."""

import numpy as np
import pytest
import test_retrain
import torch
from builders import LENGTH, build_batches, build_session, build_space, build_trainer, rows, tokens
from rounding import EXACT

from cnas.data.streams import TextStreams
from cnas.errors import UserError
from cnas.metrics import perplexity
from cnas.runs.finished_search import measure
from cnas.training.evaluate import classify, evaluate_network, mean_loss, probed

TEXT = TextStreams(tokens(63, seed=1), 2, LENGTH, tail="keep")


def language_model():
    space = build_space(init_range=0.8)
    torch.manual_seed(1)
    return space.build_network(space.parse("0 1 1 3"))


def classifier():
    space = build_space("nats")
    torch.manual_seed(1)
    network = space.build_network(space.sample(torch.Generator().manual_seed(2)))
    return network, build_batches(space, "sample", 5, 5)[1]


def accuracy(found):
    return {"right": (found.predictions == found.label_ids).mean(), "eval_count": found.label_ids.size}


def losses_of(logits, labels):
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view_as(labels)


def test_text_gives_the_ids_that_its_model_finds_likeliest_and_the_next_words():
    network, seen = language_model(), []
    figures = evaluate_network(network, TEXT, lambda found: (seen.append(found), accuracy(found))[1])
    (found,) = seen
    words = tokens(63, seed=1)[:62].view(2, 31)
    assert found.label_ids.dtype == found.predictions.dtype == np.int64
    assert (found.label_ids == words[:, 1:].numpy()).all()
    network.eval()
    with torch.no_grad():
        whole = network(words[:, :-1]).logits.argmax(-1)
    assert (found.predictions == whole.numpy()).all()
    assert figures["count"] == 60.0
    assert figures["right"] == (whole == words[:, 1:]).double().mean()
    assert figures["loss"] == mean_loss(network, TEXT)
    assert figures["perplexity"] == perplexity(figures["loss"])


def test_preprocess_keeps_something_else_of_every_batch():
    network, sizes = language_model(), []

    def kept(logits, labels):
        sizes.append(tuple(logits.shape))
        return losses_of(logits, labels), labels

    figures = evaluate_network(network, TEXT, lambda found: {"nats": found.predictions[0].mean()}, kept)
    assert figures["nats"] == pytest.approx(figures["loss"], rel=1e-5)
    # Never more than the logits of a batch.
    assert {size[:2] for size in sizes} == {(2, LENGTH)}


def test_images_give_their_logits_in_order():
    network, batches = classifier()
    figures = evaluate_network(
        network, batches, lambda found: {"share": (found.predictions.argmax(-1) == found.label_ids).mean()}
    )
    loss, correct_N = classify(network, batches)
    assert figures["share"] == pytest.approx(float(correct_N.double().mean()), rel=EXACT)
    assert (figures["loss"], figures["accuracy"]) == (loss, 100 * float(correct_N.double().mean()))


def test_without_metrics_no_logits_are_asked_for():
    network = language_model()
    network.forward = None
    assert probed(network, TEXT) == {
        "valid_loss": mean_loss(network, TEXT),
        "valid_perplexity": perplexity(mean_loss(network, TEXT)),
    }


def test_what_is_measured_anyway_keeps_its_meaning():
    assert evaluate_network(language_model(), TEXT, lambda _: {"loss": -1.0})["loss"] > 0


@pytest.mark.parametrize("wrong", [None, 3, {"score": "high"}, {"matrix": np.eye(2)}])
def test_what_is_no_number_by_name_is_refused_in_one_line(wrong):
    with pytest.raises(UserError, match=r"^compute_metrics must return numbers by name, got ") as caught:
        evaluate_network(language_model(), TEXT, lambda _: wrong)
    assert "\n" not in str(caught.value)


def test_metrics_are_in_the_rows_and_may_choose_the_weights(tmp_path):
    loop = test_retrain.build(tmp_path, num_train_epochs=3, metric_for_best_model="right", cls=test_retrain.Recorder)
    loop.validate = lambda network: (
        loop.validated.append(test_retrain.weights(network)) or probed(network, TEXT, compute_metrics=accuracy)
    )
    network = loop.train()
    found = [row["valid_right"] for row in rows(tmp_path)]
    assert all(0 <= share <= 1 for share in found)
    best = found.index(max(found))
    # The first validation is that of the new network, which names the metrics.
    assert torch.equal(test_retrain.weights(network), loop.validated[1:][best])


SCRIPT = """
import datasets
import evaluate


class Share(evaluate.Metric):
    def _info(self):
        kind = datasets.Value("int64")
        features = datasets.Features({"predictions": kind, "references": kind})
        return evaluate.MetricInfo(description="", citation="", features=features)

    def _compute(self, predictions, references):
        return {"share": sum(a == b for a, b in zip(predictions, references)) / len(references)}
"""


def test_metrics_of_the_evaluate_package_work(tmp_path, monkeypatch):
    evaluate = pytest.importorskip("evaluate")
    from cnas.metrics import WordPerplexity

    monkeypatch.setattr("evaluate.config.HF_MODULES_CACHE", str(tmp_path / "modules"), raising=False)
    (tmp_path / "share.py").write_text(SCRIPT, "utf-8")
    share = evaluate.load(str(tmp_path / "share.py"), cache_dir=str(tmp_path / "cache"))
    network = language_model()
    found = evaluate_network(
        network, TEXT, lambda p: share.compute(predictions=p.predictions.ravel(), references=p.label_ids.ravel())
    )
    assert found["share"] == evaluate_network(network, TEXT, accuracy)["right"]
    words = WordPerplexity(cache_dir=str(tmp_path / "cache"))
    found = evaluate_network(network, TEXT, lambda p: words.compute(losses=p.predictions.ravel()), losses_of)
    assert found["word_perplexity"] == pytest.approx(found["perplexity"], rel=1e-5)
    assert found["tokens"] == 60.0


def test_the_best_subnet_of_a_classifier_has_metrics_too(tmp_path):
    loop = build_trainer(build_session(tmp_path), space=build_space("nats"), algorithm="rsps", num_train_epochs=1)
    found, valid = loop.train().architecture, loop.parts.valid
    before = [buffer.clone() for buffer in loop.model.buffers()]
    figures = measure(loop, found, valid, lambda p: {"share": (p.predictions.argmax(-1) == p.label_ids).mean()})
    assert 100 * figures["share"] == pytest.approx(figures["accuracy"], rel=EXACT)
    assert {name: figures[name] for name in ("loss", "accuracy")} == measure(loop, found, valid)
    assert all(map(torch.equal, before, loop.model.buffers()))


def test_a_subnet_that_holds_no_logits_says_so_in_one_line(tmp_path):
    loop = build_trainer(build_session(tmp_path), algorithm="rsps")
    found = loop.parts.space.parse("0 1 1 3")
    message = "compute_metrics needs logits, which the supernet of enas_rnn never holds at once"
    with pytest.raises(UserError, match=message):
        measure(loop, found, loop.parts.valid, accuracy)
