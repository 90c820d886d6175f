"""What users of `transformers` ask of any model: every derived network does it, or says in one line that it does not.

Legend: B sequences, T tokens, H hidden units.
"""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForImageClassification

from cnas.spaces import DartsRnnSpace, EnasRnnSpace, NatsSpace

SPACES = {"enas": EnasRnnSpace, "darts": DartsRnnSpace}
CELL = "|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|avg_pool_3x3~1|nor_conv_3x3~2|"
IDS = torch.tensor([[2, 3, 4, 7, 1], [5, 6, 0, 8, 9]])
MASKS = {
    "none": None,
    "whole": torch.ones(2, 5, dtype=torch.long),
    "left": torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]]),
    "right": torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]]),
}
PIXELS = torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(0))


def build(kind, **changes):
    space = SPACES[kind](vocab_size=19, hidden_size=7, nodes=3, init_range=0.7)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return space.build_network(space.sample(torch.Generator().manual_seed(0)), **changes).eval()


def classifier():
    space = NatsSpace(channels=4, cells=1, classes=3)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return space.build_network(space.parse(CELL)).eval()


@pytest.fixture(params=SPACES)
def network(request):
    return build(request.param)


def test_a_tuple_where_no_dictionary_is_wanted(network):
    whole = network(IDS, labels=IDS)
    loss, logits, cache = network(IDS, labels=IDS, return_dict=False)
    assert torch.equal(loss, whole.loss)
    assert torch.equal(logits, whole.logits)
    assert torch.equal(cache, whole.cache)
    (only,) = network(IDS, use_cache=False, return_dict=False)
    assert torch.equal(only, whole.logits)
    image = classifier()
    (logits,) = image(PIXELS, return_dict=False)
    assert torch.equal(logits, image(PIXELS).logits)


@pytest.mark.parametrize("asked", ["an argument", "the configuration"])
def test_hidden_states_are_what_enters_the_cell_and_what_leaves_it(network, asked):
    network.config.output_hidden_states = asked == "the configuration"
    options = {"output_hidden_states": True} if asked == "an argument" else {}
    output = network(IDS, **options)
    entered, left = output.hidden_states
    assert torch.equal(entered, network.shell.embedding(IDS))
    assert torch.equal(network.shell.decoder(left), output.logits)
    assert network(IDS, output_hidden_states=False).hidden_states is None


def test_hidden_states_of_a_classifier_are_those_of_its_stages():
    image = classifier()
    states = image(PIXELS, output_hidden_states=True).hidden_states
    assert [list(state.shape) for state in states] == [[2, 4, 12, 12], [2, 4, 12, 12], [2, 8, 6, 6], [2, 16, 3, 3]]
    assert torch.equal(image.skeleton.classify(states[-1], None), image(PIXELS).logits)
    assert image(PIXELS).hidden_states is None


def test_generation_hands_out_hidden_states(network):
    found = network.generate(
        IDS, max_new_tokens=3, pad_token_id=0, return_dict_in_generate=True, output_hidden_states=True
    )
    assert [[list(state.shape) for state in step] for step in found.hidden_states] == [
        [[2, 5, 7], [2, 5, 7]],
        [[2, 1, 7], [2, 1, 7]],
        [[2, 1, 7], [2, 1, 7]],
    ]


@pytest.mark.parametrize("name", ["inputs_embeds", "past_key_values", "position_ids", "token_type_ids"])
def test_what_would_be_left_unread_is_refused(network, name):
    with pytest.raises(ValueError, match=f"^{name} must be left out: a recurrent network has no use for it$"):
        network(IDS, **{name: IDS})
    network(IDS, **{name: None})


def test_attentions_are_refused(network):
    refusal = pytest.raises(ValueError, match=r"^output_attentions must be left out")
    with refusal:
        network(IDS, output_attentions=True)
    with refusal:
        network.generate(IDS, max_new_tokens=2, return_dict_in_generate=True, output_attentions=True)
    with refusal:
        classifier()(PIXELS, output_attentions=True)


def test_what_needs_a_state_that_can_be_wound_back_is_refused(network):
    for options in ({"assistant_model": network}, {"prompt_lookup_num_tokens": 2}):
        with pytest.raises(ValueError, match="assisted generation is not supported with stateful models"):
            network.generate(IDS[:1], max_new_tokens=2, **options)


def test_recomputation_is_refused(network):
    with pytest.raises(ValueError, match="does not support activation checkpointing"):
        network.activation_checkpointing_enable()


@pytest.mark.parametrize("mask", [torch.ones(2, 4), torch.ones(3, 5), torch.ones(2, 1, 5, 5)])
def test_a_mask_of_another_shape_is_refused(network, mask):
    with pytest.raises(ValueError, match=r"^attention_mask must be \[2, 5\] or longer, got \["):
        network(IDS, attention_mask=mask)


@pytest.mark.parametrize("mask", ["none", "right"])
def test_it_is_exported_as_a_program(network, mask):
    inputs = {"input_ids": IDS} | ({} if mask == "none" else {"attention_mask": MASKS[mask]})
    with torch.no_grad():
        program = torch.export.export(network, (), inputs).module()
        torch.testing.assert_close(program(**inputs).logits, network(**inputs).logits)
        if mask != "none":  # padding is data, not part of the program
            other = inputs | {"attention_mask": MASKS["left"].flip(0)}
            torch.testing.assert_close(program(**other).logits, network(**other).logits)


def test_a_mask_of_ones_changes_no_bit(network):
    assert torch.equal(network(IDS, attention_mask=MASKS["whole"]).logits, network(IDS).logits)


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_loss_of_a_padded_batch_is_that_of_its_words(network, side):
    mask = MASKS[side]
    found = network(IDS, labels=IDS, attention_mask=mask).loss
    rows = [row[None, kept.bool()] for row, kept in zip(IDS, mask, strict=True)]
    alone = [(network(row, labels=row).loss, row.shape[1] - 1) for row in rows]
    torch.testing.assert_close(found, sum(loss * count for loss, count in alone) / sum(count for _, count in alone))


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("cached", [True, False])
def test_a_padded_batch_goes_on_like_each_prompt_alone(network, side, cached):
    mask, options = MASKS[side], {"do_sample": False, "max_new_tokens": 4, "pad_token_id": 0, "use_cache": cached}
    found = network.generate(IDS, attention_mask=mask, **options)[:, 5:]
    for row, kept, words in zip(IDS, mask, found, strict=True):
        prompt = row[None, kept.bool()]
        alone = network.generate(prompt, attention_mask=torch.ones_like(prompt), **options)
        assert torch.equal(words, alone[0, prompt.shape[1] :])


@pytest.mark.parametrize("stored", [{}, {"temperature": 0.5, "do_sample": True}])
def test_every_length_is_obeyed(network, stored):
    network.generation_config.update(**stored, pad_token_id=0, eos_token_id=None)
    prompt = {"inputs": IDS, "attention_mask": MASKS["whole"]}
    assert network.generate(**prompt, max_length=8).shape == (2, 8)
    assert network.generate(**prompt, max_new_tokens=2).shape == (2, 7)
    assert network.generate(**prompt).shape == (2, 55)
    network.generation_config.max_length = 9
    assert network.generate(**prompt).shape == (2, 9)


@pytest.mark.parametrize("words", [25, 19, 11])
def test_the_number_of_words_can_be_changed_before_training(words, tmp_path):
    network = build("enas", dropout_words=0.3, decoder_bias=True)
    network.resize_token_embeddings(words)
    network.train()
    inputs = (words - 1 - IDS) % words  # the last word is among them
    output = network(inputs, labels=inputs)
    output.loss.backward()
    assert output.logits.shape == (2, 5, words)
    assert network.shell.embedding.weight.grad.shape == (words, 7)
    assert network.config.vocab_size == words
    losses, _, _, _ = network.run(inputs, (inputs + 1) % words)
    assert losses.shape == (2, 5)
    network.eval().save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert torch.equal(again(inputs).logits, network(inputs).logits)


@pytest.mark.parametrize("words", [25, 11])
def test_another_number_of_words_in_the_folder_is_taken_where_that_is_allowed(words, tmp_path):
    build("enas").save_pretrained(tmp_path)
    network = AutoModelForCausalLM.from_pretrained(tmp_path, vocab_size=words, ignore_mismatched_sizes=True).train()
    inputs = (words - 1 - IDS) % words
    assert network(inputs, labels=inputs).logits.shape == (2, 5, words)


def placed(values, model):
    """Where the model is; weights that are elsewhere are nowhere until they are needed."""
    return values if model.device.type == "meta" else values.to(model.device)


@pytest.mark.parametrize(
    "places",
    [
        {"shell": "cpu", "cell": "disk"},
        {"shell": "disk", "cell": "cpu"},
        {"": "disk"},
        {"shell.embedding": "disk", "shell.decoder": "disk", "cell": "cpu"},
        "auto",
    ],
)
def test_weights_kept_elsewhere_give_the_same_logits(network, places, tmp_path):
    network.save_pretrained(tmp_path / "model")
    away = AutoModelForCausalLM.from_pretrained(tmp_path / "model", device_map=places, offload_folder=tmp_path / "away")
    inputs, mask = placed(IDS, away), placed(MASKS["left"], away)
    for _ in range(2):
        torch.testing.assert_close(
            away(inputs, attention_mask=mask).logits.cpu(), network(IDS, attention_mask=MASKS["left"]).logits
        )
    options = {"do_sample": False, "max_new_tokens": 3, "pad_token_id": 0}
    assert torch.equal(
        away.generate(inputs, attention_mask=mask, **options).cpu(),
        network.generate(IDS, attention_mask=MASKS["left"], **options),
    )


@pytest.mark.parametrize(
    "places",
    [
        {"": "disk"},
        {
            "skeleton.stem": "disk",
            "skeleton.stem_norm": "cpu",
            "skeleton.stages": "disk",
            "skeleton.reductions": "cpu",
            "skeleton.last_norm": "disk",
            "skeleton.classifier": "cpu",
        },
        "auto",
    ],
)
def test_weights_of_a_classifier_kept_elsewhere_give_the_same_logits(places, tmp_path):
    network = classifier()
    network.save_pretrained(tmp_path / "model")
    away = AutoModelForImageClassification.from_pretrained(
        tmp_path / "model", device_map=places, offload_folder=tmp_path / "away"
    )
    for _ in range(2):
        torch.testing.assert_close(away(placed(PIXELS, away)).logits.cpu(), network(PIXELS).logits)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_it_runs_in_half_precision(network, dtype, tmp_path):
    network.save_pretrained(tmp_path)
    half = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=dtype)
    output = half(IDS, labels=IDS, attention_mask=MASKS["right"])
    assert (output.logits.dtype, output.loss.dtype) == (dtype, torch.float32)
    torch.testing.assert_close(
        output.loss, network(IDS, labels=IDS, attention_mask=MASKS["right"]).loss, rtol=0.05, atol=0
    )
    assert half.generate(IDS, attention_mask=MASKS["left"], max_new_tokens=2, pad_token_id=0).shape == (2, 7)
    image = classifier()
    expected = image(PIXELS).logits
    found = image.to(dtype)(PIXELS, labels=torch.tensor([0, 1]))
    assert found.loss.dtype is torch.float32
    torch.testing.assert_close(found.logits.float(), expected, rtol=0.1, atol=0.1)
