"""The elastic decoders: a part of the supernet is the stock network, to the last digits that float32 has.

Legend: B sequences, T tokens, S of them predicted, V words.
"""

import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaForCausalLM, MistralForCausalLM

from cnas.errors import UserError
from cnas.random import DropoutSeeds, generator
from cnas.spaces import GptSpace
from cnas.spaces._stock import DropoutRates, Masks, Shape, losses, run_stock
from cnas.types import Batch, Routing

EXACT = {"atol": 1e-6, "rtol": 1e-6}
SPACE = GptSpace(vocab_size=50)
SMALL = GptSpace(vocab_size=20, width=(8, 12), depth=(1, 2), heads=(1, 2), mlp=(8, 16), head_dim=4)


def batch(space, rows=2, length=9, context=0):
    tokens = torch.randint(space.vocab_size, (rows, context + length + 1), generator=generator(1, "tokens"))
    labels = tokens[:, context + 1 :]
    return Batch(tokens[:, :-1], labels, torch.zeros_like(labels))


def supernet(space):
    """Weights of a size at which every part of the network matters."""
    found = space.build_supernet()
    draws = generator(1, "weights")
    with torch.no_grad():
        for parameter in found.parameters():
            noise = torch.randn(parameter.shape, generator=draws)
            parameter.copy_(noise / parameter.shape[1] ** 0.5 if parameter.dim() == 2 else 1 + 0.3 * noise)
    return found


def stock(space, net, architecture):
    """A Llama built here, its weights sliced here: nothing of the space's own way to one."""
    width, depth, heads, mlp, head_dim = space.shape_of(architecture.choices)
    config = LlamaConfig(
        vocab_size=space.vocab_size, hidden_size=width, num_hidden_layers=depth, num_attention_heads=heads,
        num_key_value_heads=heads, head_dim=head_dim, intermediate_size=mlp, tie_word_embeddings=True,
    )  # fmt: skip
    found = LlamaForCausalLM(config)
    large = net.network.state_dict()
    found.load_state_dict(
        {name: large[name][tuple(slice(n) for n in value.shape)] for name, value in found.state_dict().items()}
    )
    return found


def drawn(space, count):
    draws = generator(1, "architectures")
    return [*space.extremes(), *(space.sample(draws) for _ in range(count))]


@pytest.mark.parametrize("architecture", drawn(SPACE, 20), ids=str)
def test_a_part_of_the_supernet_is_the_stock_network(architecture):
    net = supernet(SPACE).eval()
    data = batch(SPACE)
    with torch.no_grad():
        logits = stock(SPACE, net, architecture).eval()(data.inputs).logits
        expected = F.cross_entropy(logits.flatten(0, 1), data.labels.flatten(), reduction="none").view(2, 9)
        found = net(data, SPACE.routing(architecture)).losses
        inherited = SPACE.inherited(net, architecture).eval()
        torch.testing.assert_close(found, expected, **EXACT)
        assert torch.equal(inherited(data.inputs).logits, logits)
        torch.testing.assert_close(run_stock(inherited, data).logits, logits, **EXACT)


@pytest.mark.parametrize("architecture", drawn(SMALL, 4), ids=str)
def test_gradients_are_those_of_the_network_on_its_own_and_zero_outside(architecture):
    net = supernet(SMALL)
    alone, data = SMALL.inherited(net, architecture), batch(SMALL)
    net(data, SMALL.routing(architecture)).losses.mean().backward()
    alone(data.inputs, labels=torch.cat([data.inputs[:, :1], data.labels], 1)[:, :-1]).loss.backward()
    alone.zero_grad()
    logits = alone(data.inputs).logits
    F.cross_entropy(logits.flatten(0, 1), data.labels.flatten()).backward()
    own = dict(alone.named_parameters())
    for name, parameter in net.network.named_parameters():
        if name not in own:
            assert parameter.grad is None, f"{name} belongs to a layer that was not run"
            continue
        inside = tuple(slice(size) for size in own[name].shape)
        torch.testing.assert_close(parameter.grad[inside], own[name].grad, atol=1e-5, rtol=1e-4)
        assert parameter.grad.abs().sum() == pytest.approx(parameter.grad[inside].abs().sum().item(), rel=1e-5)


def test_the_parameters_are_those_of_the_formula_and_of_the_stock_network():
    space = replace(SPACE, vocab_size=4096)
    architectures = space.all()
    assert len(architectures) == space.size == 144
    for architecture in architectures:
        d, depth, h, m, hd = space.shape_of(architecture.choices)
        formula = space.vocab_size * d + d + depth * (4 * h * hd * d + 3 * m * d + 2 * d)
        with torch.device("meta"):
            network = space.build_network(architecture)
        assert space.costs(architecture)["parameters"] == formula == sum(p.numel() for p in network.parameters())
    costs = [space.costs(each)["parameters"] for each in space.extremes()]
    assert costs == [min(space.costs(each)["parameters"] for each in architectures), 2_508_480]


def test_flops_count_a_product_with_every_matrix_once():
    architecture = SMALL.extremes()[1]
    norms = 12 * (2 * 2 + 1)
    costs = SMALL.costs(architecture)
    assert costs["flops"] == 2 * (costs["parameters"] - norms)


def test_many_at_once_are_what_each_is_alone():
    net, data = supernet(SMALL), batch(SMALL, context=4)
    architectures = drawn(SMALL, 3)
    routings = [SMALL.routing(each) for each in architectures]
    losses, states = net.forward_many(data, routings, [None] * 5)
    assert net.training
    assert states == [None] * 5
    net.eval()
    assert losses.shape == (5, 2, 9)
    for found, routing in zip(losses, routings, strict=True):
        torch.testing.assert_close(found, net(data, routing).losses, **EXACT)


def test_labels_belong_to_the_last_tokens_and_the_others_are_context():
    net, whole = supernet(SMALL).eval(), batch(SMALL, length=9)
    routing = SMALL.routing(SMALL.extremes()[1])
    expected = net(whole, routing).losses[:, 4:]
    found = net(replace(whole, labels=whole.labels[:, 4:]), routing).losses
    torch.testing.assert_close(found, expected)
    network = SMALL.inherited(net, SMALL.extremes()[1])
    for training in (True, False):
        output = run_stock(network.train(training), replace(whole, labels=whole.labels[:, 4:]))
        torch.testing.assert_close(output.losses, expected, atol=1e-5, rtol=1e-5)


def test_generation_with_and_without_a_cache_is_the_same():
    network = SMALL.inherited(supernet(SMALL), SMALL.extremes()[1]).eval()
    prompt, options = torch.tensor([[3, 1, 4]]), {"max_new_tokens": 12, "do_sample": False, "pad_token_id": 0}
    one, other = (network.generate(prompt, use_cache=use, **options) for use in (True, False))
    assert one.shape == (1, 15)
    assert torch.equal(one, other)


def test_a_width_that_heads_do_not_divide_is_a_mistral_of_the_same_function():
    space = replace(SMALL, width=(10,), heads=(3,))
    net, (architecture, _), data = supernet(space).eval(), space.extremes(), batch(space)
    network = space.inherited(net, architecture).eval()
    assert isinstance(network, MistralForCausalLM)
    assert network.config.sliding_window is None
    logits = network(data.inputs).logits
    expected = F.cross_entropy(logits.flatten(0, 1), data.labels.flatten(), reduction="none")
    torch.testing.assert_close(net(data, space.routing(architecture)).losses.flatten(), expected, atol=1e-5, rtol=1e-5)


def test_a_stock_network_loads_where_this_package_is_not(tmp_path):
    architecture, data = SMALL.extremes()[1], torch.tensor([[1, 2, 3]])
    network = SMALL.inherited(supernet(SMALL), architecture).eval()
    network.save_pretrained(tmp_path)
    torch.save(network(data).logits, tmp_path / "logits.pt")
    code = (
        "import sys; sys.modules['cnas'] = None\n"
        "import torch; from transformers import AutoModelForCausalLM\n"
        f"network = AutoModelForCausalLM.from_pretrained({str(tmp_path)!r})\n"
        f"logits = torch.load({str(tmp_path / 'logits.pt')!r})\n"
        "assert torch.equal(network(torch.tensor([[1, 2, 3]])).logits, logits)\n"
        "print(type(network).__module__)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.stdout.strip() == "transformers.models.llama.modeling_llama", done.stderr


RATES = {"dropout_embedding": 0.2, "dropout_hidden": 0.3, "dropout_output": 0.4}


def test_masks_are_locked_and_do_not_depend_on_the_number_of_processes():
    like, rates = torch.zeros(1), DropoutRates(**RATES)

    def masks(rows):
        seeds = DropoutSeeds(1, "search/dropout", 3, rows, 6)
        data = batch(SMALL, rows=len(range(6)[rows]))
        return Masks.draw(rates, replace(data, dropout_seeds=seeds), Shape(12, 2, 1, 8, 4), like)

    whole, first, rest = masks(slice(0, 6)), masks(slice(0, 2)), masks(slice(2, 6))
    for name, rate, count in (("embedding", 0.2, 1), ("hidden", 0.3, 4), ("output", 0.4, 1)):
        mask = getattr(whole, name)
        assert mask.shape == (6, count, 12)
        assert {*mask.unique().tolist()} == {0.0, torch.tensor(1 / (1 - rate)).item()}
        assert torch.equal(mask, torch.cat([getattr(first, name), getattr(rest, name)]))


@pytest.mark.parametrize("place", range(4))
def test_a_mask_within_a_layer_is_rows_of_zeros_in_what_it_adds(place):
    net, largest, data = supernet(SMALL), SMALL.extremes()[1], batch(SMALL)
    shape, weights = SMALL.shape_of(largest.choices), dict(net.network.named_parameters())
    mask = torch.ones(2, 2 * shape.depth, shape.width)
    mask[:, place, 3:] = 0
    part = ("self_attn.o_proj", "mlp.down_proj")[place % 2]
    name = f"model.layers.{place // 2}.{part}.weight"
    zeros = weights | {name: weights[name] * mask[0, place, :, None]}
    found = losses(weights, shape, data, Masks(hidden=mask))
    torch.testing.assert_close(found, losses(zeros, shape, data), **EXACT)
    assert not torch.allclose(found, losses(weights, shape, data), atol=1e-3)


def test_dropout_at_both_ends_is_a_mask_of_all_tokens():
    net, largest, data = supernet(SMALL), SMALL.extremes()[1], batch(SMALL)
    shape, weights = SMALL.shape_of(largest.choices), dict(net.network.named_parameters())
    nothing = torch.zeros(2, 1, shape.width)
    guess = torch.full((2, 9), float(SMALL.vocab_size)).log()
    for masks in (Masks(embedding=nothing), Masks(output=nothing)):
        torch.testing.assert_close(losses(weights, shape, data, masks), guess)


def test_dropout_acts_in_training_alone_and_the_same_in_both_networks():
    space = replace(SMALL, **RATES)
    net, largest = supernet(space), space.extremes()[1]
    seeds = DropoutSeeds(1, "search/dropout", 3, slice(0, 2), 2)
    data = replace(batch(space), dropout_seeds=seeds)
    trained = net(data, space.routing(largest)).losses
    assert torch.equal(trained, net(data, space.routing(largest)).losses)
    torch.testing.assert_close(run_stock(space.inherited(net, largest), data).losses, trained)
    assert not torch.allclose(trained, net.eval()(data, space.routing(largest)).losses)


def test_a_supernet_of_sizes_runs_no_mixture():
    net, data = supernet(SMALL), batch(SMALL)
    pairs = [pair for each in SMALL.decisions() for pair in each.options]
    mixture = Routing(torch.ones(1, *SMALL.shape), (tuple(pairs),))
    for routing in (mixture, replace(mixture, unit=True)):
        with pytest.raises(UserError, match="single paths only"):
            net(data, routing)


def test_no_rows_are_no_losses():
    net, data = supernet(SMALL), batch(SMALL)
    none = Batch(data.inputs[:0], data.labels[:0], data.unit_ids[:0])
    losses = net(none, SMALL.routing(SMALL.extremes()[0])).losses
    assert losses.shape == (0, 9)
    losses.sum().backward()


@pytest.mark.parametrize("architecture", drawn(SPACE, 5), ids=str)
def test_the_notation_can_be_read_back(architecture):
    assert SPACE.parse(architecture.to_str()) == architecture
    assert SPACE.parse(f"  {architecture} ").choices == architecture.choices


def test_what_the_notation_says():
    architecture = SPACE.parse("w96 d3 h2 m576")
    assert SPACE.shape_of(architecture.choices) == (96, 3, 2, 576, 32)
    assert [SPACE.operations[pick] for _, pick in architecture.choices] == ["width 96", "depth 3", "heads 2", "mlp 576"]
    assert [each.name for each in SPACE.decisions()] == ["width", "depth", "heads", "mlp"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("w96 d3 h2", "must be width, depth, heads and MLP, e.g. 'w192 d4 h4 m576'"),
        ("w97 d3 h2 m576", "width must be one of 96, 128, 160, 192"),
        ("w96 d3 h2 m5760", "mlp must be one of 192, 288, 384, 576"),
        ("w²96 d3 h2 m576", "must be width, depth, heads and MLP"),
    ],
)
def test_a_wrong_notation_is_answered_with_what_there_is(text, said):
    with pytest.raises(UserError, match=said):
        SPACE.parse(text)


@pytest.mark.parametrize(
    "wrong",
    [{"width": (96, 64)}, {"depth": ()}, {"heads": (0, 1)}, {"head_dim": 3}, {"vocab_size": 0}, {"init_std": 0.0},
     {"dropout_hidden": 1.0}],
    ids=str,
)  # fmt: skip
def test_wrong_sizes_are_refused_by_their_name(wrong):
    with pytest.raises(ValueError, match=f"^{next(iter(wrong))} must be"):
        GptSpace(**wrong)


def test_masks_of_a_step_are_drawn_once_for_all_its_paths(monkeypatch):
    space = replace(SMALL, **RATES)
    net, drawn = supernet(space), []
    draw = Masks.draw
    monkeypatch.setattr(Masks, "draw", lambda *given: drawn.append(given) or draw(*given))
    steps = [replace(batch(space), dropout_seeds=DropoutSeeds(1, "search/dropout", n, slice(0, 2), 2)) for n in (3, 4)]
    routings = [space.routing(each) for each in space.extremes()]
    found = [[net(data, routing).losses for routing in routings] for data in steps]
    assert len(drawn) == 2
    again = [[supernet(space)(data, routing).losses for routing in routings] for data in steps]
    for one, other in zip(found, again, strict=True):
        assert all(map(torch.equal, one, other))
    assert not any(map(torch.equal, *found))
