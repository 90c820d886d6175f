"""What `transformers.Trainer` makes of a derived network: a batch counts alike however it is cut."""

import pytest
import torch
from fine_tuning import tuning
from torch.nn import functional as F
from transformers import DataCollatorForLanguageModeling, Trainer, default_data_collator

from cnas.hub import build_tokenizer
from cnas.hub.model_folder import save_model
from cnas.spaces import DartsRnnSpace, EnasRnnSpace, NatsSpace
from cnas.spaces.nats.modeling import CnasNatsForImageClassification
from cnas.spaces.nats.norm import BatchNorm

WORDS = ("<unk>", "<eos>", "N", "the", *(f"w{index}" for index in range(15)))
CUTS = [(8, 1), (4, 2), (2, 4), (1, 8)]
DROPOUTS = [f"dropout_{name}" for name in ("words", "embedding", "input", "hidden", "output")]
IMAGES = NatsSpace(channels=4, cells=1, classes=3)
CELL = "|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|avg_pool_3x3~1|nor_conv_3x3~2|"
TEXTS = {"enas": EnasRnnSpace, "darts": DartsRnnSpace}


def language_model(kind="enas", **regularisers):
    space = TEXTS[kind](vocab_size=len(WORDS), hidden_size=7, nodes=3, init_range=0.7)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        architecture = space.sample(torch.Generator().manual_seed(0))
        return space.build_network(architecture, **dict.fromkeys(DROPOUTS, 0.0), **regularisers)


def classifier():
    """Its norms stay as in evaluation: otherwise a cut would be another function."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = IMAGES.build_network(IMAGES.parse(CELL))
    for norm in (module for module in network.modules() if isinstance(module, BatchNorm)):
        norm.eval()
        norm.train = lambda mode=True, norm=norm: norm
    return network


def lines(tokenizer):
    """Of 3 to 6 words each."""
    return [{"input_ids": tokenizer.encode(" ".join(WORDS[2 : 5 + row % 4]) + "\n")} for row in range(8)]


def pictures():
    draws = torch.Generator().manual_seed(0)
    return [{"pixel_values": torch.randn(3, 8, 8, generator=draws), "labels": row % 3} for row in range(8)]


def first_step(network, rows, collator, folder, cut, **options):
    """Loss and gradient norm that a trainer reports for its first step."""
    logged = []

    class Told(Trainer):
        def log(self, logs, *args, **kwargs):
            logged.append(logs)

    compute_loss_func = options.pop("compute_loss_func", None)
    arguments = tuning(
        folder,
        per_device_train_batch_size=cut[0],
        gradient_accumulation_steps=cut[1],
        max_steps=1,
        logging_steps=1,
        learning_rate=0.0,
        max_grad_norm=1e9,
        **options,
    )
    trainer = Told(network, arguments, data_collator=collator, train_dataset=rows, compute_loss_func=compute_loss_func)
    trainer.train()
    return logged[0]["loss"], logged[0]["grad_norm"]


def summed(outputs, labels, num_items_in_batch):
    """A loss of the user's own."""
    logits = outputs.logits[:, :-1].flatten(0, 1)
    return F.cross_entropy(logits, labels[:, 1:].flatten(), reduction="sum") / num_items_in_batch


@pytest.mark.parametrize("options", [{}, {"label_smoothing_factor": 0.1}, {"compute_loss_func": summed}])
def test_a_batch_of_text_counts_alike_however_it_is_cut(tmp_path, options):
    tokenizer = build_tokenizer(WORDS)
    collator = DataCollatorForLanguageModeling(tokenizer, mlm=False)
    folder = save_model(language_model(), WORDS, tmp_path / "model")
    load = lambda: type(language_model()).from_pretrained(folder)  # noqa: E731
    found = [first_step(load(), lines(tokenizer), collator, tmp_path, cut, **options) for cut in CUTS]
    for one in found[1:]:
        assert one == pytest.approx(found[0], rel=1e-5)
    if "label_smoothing_factor" not in options:
        network, rows = load(), [torch.tensor([row["input_ids"]]) for row in lines(tokenizer)]
        losses = [network(row, labels=row).loss * (row.shape[1] - 1) for row in rows]
        mean = sum(losses) / sum(row.shape[1] - 1 for row in rows)
        mean.backward()
        slopes = torch.cat([weight.grad.flatten() for weight in network.parameters()])
        assert found[0] == pytest.approx((mean.item(), slopes.norm().item()), rel=1e-5)


@pytest.mark.parametrize("options", [{}, {"label_smoothing_factor": 0.1}])
def test_a_batch_of_images_counts_alike_however_it_is_cut(tmp_path, options):
    found = [first_step(classifier(), pictures(), default_data_collator, tmp_path, cut, **options) for cut in CUTS]
    for one in found[1:]:
        assert one == pytest.approx(found[0], rel=1e-5)


@pytest.mark.parametrize("kind", TEXTS)
def test_the_sum_of_a_text_s_losses_is_divided_by_the_items_it_is_told(kind, monkeypatch):
    network = language_model(kind, tar=2.0, activation_penalty=3.0).train()
    logits = torch.randn(2, 5, len(WORDS), generator=torch.Generator().manual_seed(1))
    monkeypatch.setattr(network.shell, "decode", lambda dropped, pad_row: logits)
    labels = torch.tensor([[3, 4, -100, 5, 6], [7, 8, 9, -100, -100]])
    terms = [
        -logits[row, place - 1].log_softmax(0)[labels[row, place]]
        for row, place in [(0, 1), (0, 3), (0, 4), (1, 1), (1, 2)]
    ]
    inputs = labels.clamp_min(0)
    for items in (11, torch.tensor(11)):
        torch.testing.assert_close(network(inputs, labels=labels, num_items_in_batch=items).loss, sum(terms) / 11)
    # Neither AR nor TAR is in it.
    torch.testing.assert_close(network(inputs, labels=labels).loss, sum(terms) / 5)


def test_the_sum_of_the_images_losses_is_divided_by_the_items_it_is_told(monkeypatch):
    network = IMAGES.build_network(IMAGES.parse(CELL)).train()
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(1))
    monkeypatch.setattr(network, "_logits", lambda *_: logits)
    labels = torch.tensor([2, 0, -100, 1])
    total = sum(-logits[row].log_softmax(0)[labels[row]] for row in (0, 1, 3))
    for items in (11, torch.tensor(11)):
        torch.testing.assert_close(network(logits, labels=labels, num_items_in_batch=items).loss, total / 11)
    torch.testing.assert_close(network(logits, labels=labels).loss, total / 3)


@pytest.mark.parametrize("problem", ["regression", "multi_label_classification"])
def test_labels_of_another_kind_of_problem_are_refused(problem):
    network = classifier()
    network.config.problem_type = problem
    with pytest.raises(ValueError, match=f"problem_type must be single_label_classification, got {problem}"):
        network(torch.zeros(2, 3, 8, 8), labels=torch.zeros(2, 3))


@pytest.mark.parametrize("change", ["a new head", "the number of labels"])
def test_a_classifier_for_other_classes_is_trained(tmp_path, change):
    if change == "a new head":
        network = classifier()
        network.skeleton.classifier = torch.nn.Linear(16, 5)
    else:
        classifier().save_pretrained(tmp_path)
        network = CnasNatsForImageClassification.from_pretrained(tmp_path, num_labels=5, ignore_mismatched_sizes=True)
    labels = torch.tensor([4, 0])
    output = network(torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)), labels=labels)
    torch.testing.assert_close(output.loss, F.cross_entropy(output.logits, labels))
    output.loss.backward()
    assert network.skeleton.classifier.weight.grad.shape == (5, 16)
