"""What people do with the stock models that the space of transformers leaves: padding, pipelines, training.

Legend: B sequences, T tokens.
"""

import pytest
import torch
from test_fine_tuning import CUTS, first_step
from torch.nn import functional as F
from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline

from cnas.data.tokenizers import train_bpe
from cnas.hub import save_model
from cnas.random import generator
from cnas.spaces import GptSpace

LINES = ["the cat sat on the mat", "the dog", "a cat and a dog sat", "mat", "on the dog sat the cat"]
SIZES = {"llama": {"width": (8, 12), "heads": (1, 2)}, "mistral": {"width": (10,), "heads": (3,)}}
GREEDY = {"do_sample": False, "max_new_tokens": 6}


@pytest.fixture(scope="module", params=SIZES)
def folder(request, tmp_path_factory):
    """A model folder, weights at a size at which every token before matters."""
    tokenizer = train_bpe(LINES, 280)
    space = GptSpace(**SIZES[request.param], vocab_size=len(tokenizer), depth=(2,), mlp=(16,), head_dim=4)
    network, draws = space.build_network(space.extremes()[1]), generator(1, "weights")
    with torch.no_grad():
        for parameter in network.parameters():
            noise = torch.randn(parameter.shape, generator=draws)
            parameter.copy_(noise / parameter.shape[1] ** 0.5 if parameter.dim() == 2 else 1 + 0.3 * noise)
    found = save_model(network, tokenizer, tmp_path_factory.mktemp("models") / request.param)
    assert f'"model_type": "{request.param}"' in (found / "config.json").read_text("utf-8")
    return found


@pytest.fixture
def network(folder):
    return AutoModelForCausalLM.from_pretrained(folder).eval()


def batch(folder, side):
    """(tokens [B, T], mask [B, T], each row without its padding)."""
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side=side)
    found = tokenizer(LINES, padding=True, return_tensors="pt")
    ids, mask = found["input_ids"], found["attention_mask"]
    assert not mask.all()
    return ids, mask, [row[None, kept.bool()] for row, kept in zip(ids, mask, strict=True)]


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_changes_no_logits_and_no_loss(folder, network, side):
    ids, mask, rows = batch(folder, side)
    # Nothing but padding comes before the first token of a row, which therefore is no label.
    labels = ids.masked_fill(mask.cumsum(1) * mask < 2, -100)
    with torch.no_grad():
        padded = network(ids, attention_mask=mask, labels=labels)
        alone = [network(row).logits[0] for row in rows]
    for found, kept, expected in zip(padded.logits, mask, alone, strict=True):
        torch.testing.assert_close(found[kept.bool()], expected, atol=1e-5, rtol=1e-5)
    losses = [F.cross_entropy(each[:-1], row[0, 1:], reduction="none") for each, row in zip(alone, rows, strict=True)]
    torch.testing.assert_close(padded.loss, torch.cat(losses).mean(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("cached", [True, False])
def test_a_padded_batch_goes_on_like_each_prompt_alone(folder, network, cached):
    ids, mask, rows = batch(folder, "left")
    found = network.generate(ids, attention_mask=mask, use_cache=cached, **GREEDY)[:, ids.shape[1] :]
    for words, row in zip(found, rows, strict=True):
        alone = network.generate(row, attention_mask=torch.ones_like(row), use_cache=not cached, **GREEDY)
        assert torch.equal(words[: alone.shape[1] - row.shape[1]], alone[0, row.shape[1] :])


def test_a_pipeline_goes_on_with_a_batch_as_with_each_line(folder, network):
    generate = pipeline("text-generation", str(folder))
    together = generate(LINES, batch_size=len(LINES), **GREEDY)
    assert together == [generate(line, **GREEDY) for line in LINES]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(LINES[0], return_tensors="pt")
    (expected,) = tokenizer.batch_decode(network.generate(**ids, **GREEDY), skip_special_tokens=True)
    assert together[0][0]["generated_text"] == expected.lstrip()


def test_a_trainer_counts_a_batch_alike_however_it_is_cut(folder, tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = [{"input_ids": tokenizer.encode(LINES[place % len(LINES)] + "\n")} for place in range(8)]

    def collator(found):
        # Not that of `transformers`, which takes <eos> for padding where a tokenizer has no other.
        length = max(len(each["input_ids"]) for each in found)
        missing = [length - len(each["input_ids"]) for each in found]
        filled = {"input_ids": tokenizer.pad_token_id, "labels": -100}
        batch = {
            name: torch.tensor(
                [[*each["input_ids"], *[value] * more] for each, more in zip(found, missing, strict=True)]
            )
            for name, value in filled.items()
        }
        return batch | {"attention_mask": (batch["labels"] != -100).long()}

    def load():
        return AutoModelForCausalLM.from_pretrained(folder)

    found = [first_step(load(), rows, collator, tmp_path, cut) for cut in CUTS]
    for one in found[1:]:
        assert one == pytest.approx(found[0], rel=1e-5)
    network, ids = load(), [torch.tensor([row["input_ids"]]) for row in rows]
    total = sum(network(row, labels=row).loss * (row.shape[1] - 1) for row in ids)
    (total / sum(row.shape[1] - 1 for row in ids)).backward()
    slopes = torch.cat([weight.grad.flatten() for weight in network.parameters()])
    assert found[0][1] == pytest.approx(slopes.norm().item(), rel=1e-5)
