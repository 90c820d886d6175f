"""The loss that never holds all logits, against torch's own. Legend: N rows, H hidden units, V words."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rounding import EXACT, within
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from cnas.spaces import _language_model
from cnas.spaces._cross_entropy import tied_cross_entropy
from cnas.spaces._memory import BufferPool

SETTINGS = settings(derandomize=True, deadline=None, max_examples=25)


def example(seed=0, rows=7, hidden=4, words=11, bias=True, dtype=torch.float64):
    draws = torch.Generator().manual_seed(seed)
    decoder = nn.Linear(hidden, words, bias=bias, dtype=dtype)
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draws, dtype=dtype))
    hidden_NH = torch.randn(rows, hidden, generator=draws, dtype=dtype, requires_grad=True)
    labels_N = torch.randint(words, (rows,), generator=draws)
    return hidden_NH, decoder, labels_N, torch.rand(rows, generator=draws, dtype=dtype)


@SETTINGS
@given(
    st.integers(0, 999),
    st.integers(1, 9),
    st.integers(1, 5),
    st.integers(1, 12),
    st.booleans(),
    st.sampled_from([1, 13, 30, 10**6]),
)
def test_value_and_gradients_are_those_of_torch(seed, rows, hidden, words, bias, elements):
    hidden_NH, decoder, labels_N, v_N = example(seed, rows, hidden, words, bias)
    wanted = [hidden_NH, *decoder.parameters()]
    expected_N = F.cross_entropy(decoder(hidden_NH), labels_N, reduction="none")
    expected = torch.autograd.grad((v_N * expected_N).sum(), wanted)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_language_model, "CHUNK_ELEMENTS", elements)
        losses_N = tied_cross_entropy(hidden_NH, decoder, labels_N)
        found = torch.autograd.grad((v_N * losses_N).sum(), wanted)
    torch.testing.assert_close(losses_N, expected_N, **within(EXACT))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, **within(EXACT))


@pytest.mark.parametrize("bias", [True, False])
def test_gradients_are_those_of_finite_differences(bias, monkeypatch):
    monkeypatch.setattr(_language_model, "CHUNK_ELEMENTS", 22)
    hidden_NH, decoder, labels_N, _ = example(rows=5, hidden=3, words=6, bias=bias)

    def losses(hidden_NH, *parameters):
        return torch.func.functional_call(
            _Loss(decoder), dict(zip(names, parameters, strict=True)), (hidden_NH, labels_N)
        )

    names = [f"decoder.{name}" for name, _ in decoder.named_parameters()]
    assert torch.autograd.gradcheck(losses, (hidden_NH, *decoder.parameters()))


class _Loss(nn.Module):
    def __init__(self, decoder):
        super().__init__()
        self.decoder = decoder

    def forward(self, hidden_NH, labels_N):
        return tied_cross_entropy(hidden_NH, self.decoder, labels_N)


def test_a_tied_embedding_gets_both_gradients():
    _, decoder, labels_N, _ = example(bias=False)
    inputs_N = labels_N.flip(0)
    losses_N = tied_cross_entropy(decoder.weight[inputs_N], decoder, labels_N)
    (found,) = torch.autograd.grad(losses_N.sum(), decoder.weight)
    logits = decoder.weight[inputs_N] @ decoder.weight.t()
    (expected,) = torch.autograd.grad(F.cross_entropy(logits, labels_N, reduction="sum"), decoder.weight)
    torch.testing.assert_close(found, expected, **within(EXACT))


def test_losses_are_float32_under_autocast_and_close_to_it():
    hidden_NH, decoder, labels_N, v_N = example(rows=40, hidden=8, words=30, dtype=torch.float32)
    wanted = [hidden_NH, *decoder.parameters()]
    exact_N = tied_cross_entropy(hidden_NH, decoder, labels_N)
    with torch.autocast("cpu", torch.bfloat16):
        losses_N = tied_cross_entropy(hidden_NH, decoder, labels_N)
    assert losses_N.dtype is torch.float32
    torch.testing.assert_close(losses_N, exact_N, rtol=0.02, atol=0.1)
    expected = torch.autograd.grad((v_N * exact_N).sum(), wanted)
    for one, other in zip(torch.autograd.grad((v_N * losses_N).sum(), wanted), expected, strict=True):
        assert one.dtype is torch.float32
        assert (one - other).norm() < 0.02 * other.norm()


def test_no_rows_have_no_losses():
    hidden_NH, decoder, labels_N, _ = example()
    with torch.no_grad():
        assert tied_cross_entropy(hidden_NH[:0], decoder, labels_N[:0]).shape == (0,)


def test_without_gradient_nothing_is_kept(monkeypatch):
    hidden_NH, decoder, labels_N, _ = example()
    monkeypatch.setattr(_language_model, "CHUNK_ELEMENTS", 22)
    largest, empty = [], torch.empty

    def recorded(*shape, **options):
        made = empty(*shape, **options)
        largest.append(made.numel())
        return made

    monkeypatch.setattr(torch, "empty", recorded)
    with torch.no_grad():
        losses_N = tied_cross_entropy(hidden_NH, decoder, labels_N)
    assert max(largest) == 22
    tied_cross_entropy(hidden_NH, decoder, labels_N)
    assert max(largest) == 7 * 11, "with gradient the probabilities are kept, so the bound above can fail"
    assert losses_N.grad_fn is None
    torch.testing.assert_close(losses_N, F.cross_entropy(decoder(hidden_NH), labels_N, reduction="none"))


@pytest.mark.parametrize(
    "wanted", [(True, False, False), (False, True, False), (False, False, True), (True, True, True)]
)
def test_what_nobody_asks_for_is_not_computed(wanted):
    hidden_NH, decoder, labels_N, v_N = example()
    inputs = (hidden_NH, decoder.weight, decoder.bias)
    expected = torch.autograd.grad(
        (v_N * F.cross_entropy(decoder(hidden_NH), labels_N, reduction="none")).sum(), inputs
    )
    hidden_NH.requires_grad_(wanted[0])
    decoder.weight.requires_grad_(wanted[1])
    decoder.bias.requires_grad_(wanted[2])
    losses_N = tied_cross_entropy(hidden_NH, decoder, labels_N)
    asked = [tensor for tensor, want in zip(inputs, wanted, strict=True) if want]
    with FlopCounterMode(display=False) as counter:
        found = torch.autograd.grad((v_N * losses_N).sum(), asked)
    # Two products of [N, V] with [*, H], and one with a vector, which the counter does not know.
    assert counter.get_total_flops() == (wanted[0] + wanted[1]) * 2 * hidden_NH.numel() * decoder.out_features
    for one, other in zip(found, [g for g, want in zip(expected, wanted, strict=True) if want], strict=True):
        torch.testing.assert_close(one, other, **within(EXACT))


def test_memory_that_is_given_is_used_again_and_never_lent_twice():
    hidden_NH, decoder, labels_N, v_N = example()
    memory = BufferPool()
    expected = torch.autograd.grad((v_N * tied_cross_entropy(hidden_NH, decoder, labels_N)).sum(), hidden_NH)[0]
    first = (v_N * tied_cross_entropy(hidden_NH, decoder, labels_N, memory)).sum()
    second = (v_N * tied_cross_entropy(-hidden_NH, decoder, labels_N, memory)).sum()
    torch.testing.assert_close(torch.autograd.grad(first, hidden_NH)[0], expected, rtol=0, atol=0)
    del first, second
    again = (v_N * tied_cross_entropy(hidden_NH, decoder, labels_N, memory)).sum()
    torch.testing.assert_close(torch.autograd.grad(again, hidden_NH)[0], expected, rtol=0, atol=0)
