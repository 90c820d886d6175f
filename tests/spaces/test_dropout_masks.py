"""Where dropout masks come from. Legend: B rows of the global batch, H hidden units, V words."""

import pytest
import torch
from builders import LENGTH, build_space, tokens
from rounding import EXACT, within

from cnas.data.streams import TextStreams
from cnas.random import DropoutSeeds
from cnas.spaces._language_model import NO_MASKS, LanguageModelShell, LanguageModelSizes

NAMES = ("words", "embedding", "input", "hidden", "output")
RATES = dict(zip(NAMES, (0.1, 0.2, 0.75, 0.25, 0.5), strict=True))


def shell(hidden=300, words=400, rates=RATES):
    sizes = {f"dropout_{name}": rate for name, rate in rates.items()}
    return LanguageModelShell(LanguageModelSizes(vocab_size=words, hidden_size=hidden, **sizes))


def dropout_seeds(rows=slice(0, 8), step=3, total=8):
    return DropoutSeeds(1, "search/dropout", step, rows, total)


@pytest.mark.parametrize("name", NAMES)
def test_rates_are_respected_and_the_rest_is_scaled_up(name):
    mask = getattr(shell().masks(8, dropout_seeds()), name)
    kept = 1 / (1 - RATES[name])
    assert {round(value, 5) for value in mask.unique().tolist()} == {0.0, round(kept, 5)}
    share = float((mask == 0).double().mean())
    deviation = (RATES[name] * (1 - RATES[name]) / mask.numel()) ** 0.5
    assert abs(share - RATES[name]) < 4 * deviation


def test_masks_have_one_value_for_all_time_steps():
    masks = shell(hidden=6, words=9).masks(8, dropout_seeds())
    assert masks.words.shape == (9, 1)
    assert masks.embedding.shape == masks.input.shape == masks.output.shape == (8, 1, 6)
    assert masks.hidden.shape == (8, 6)


def test_processes_cut_their_rows_out_of_the_same_masks():
    whole = shell(hidden=6).masks(8, dropout_seeds())
    for rows in (slice(0, 3), slice(3, 8)):
        part = shell(hidden=6).masks(rows.stop - rows.start, dropout_seeds(rows))
        assert torch.equal(part.words, whole.words)
        for name in NAMES[1:]:
            assert torch.equal(getattr(part, name), getattr(whole, name)[rows])


def test_every_step_and_every_kind_has_draws_of_its_own():
    one, other = shell(hidden=300).masks(8, dropout_seeds(step=3)), shell(hidden=300).masks(8, dropout_seeds(step=4))
    for name in NAMES:
        assert not torch.equal(getattr(one, name), getattr(other, name))
    equal = shell(rates=dict.fromkeys(NAMES, 0.5)).masks(8, dropout_seeds())
    assert not torch.equal(equal.embedding, equal.input)
    assert not torch.equal(equal.embedding, equal.output)


def test_named_noise_leaves_the_global_generator_alone():
    model, before = shell(hidden=6), torch.get_rng_state()
    model.masks(8, dropout_seeds())
    assert torch.equal(torch.get_rng_state(), before)
    model.masks(8, None)
    assert not torch.equal(torch.get_rng_state(), before)


def test_there_are_no_masks_in_evaluation_or_at_rate_zero():
    assert shell(hidden=6).eval().masks(8, dropout_seeds()) == NO_MASKS
    assert shell(hidden=6, rates=dict.fromkeys(NAMES, 0.0)).masks(8, dropout_seeds()) == NO_MASKS


def test_a_supernet_on_slices_is_the_supernet_on_all_rows():
    space = build_space(hidden_size=6, init_range=0.7)
    supernet = space.build_supernet().double()
    routing = space.routing(space.sample(torch.Generator().manual_seed(0)))
    streams = TextStreams(tokens(), 5, LENGTH)

    def losses(rows, training=True):
        batch = streams.batch(2, rows)
        own = type(batch)(batch.inputs, batch.labels, batch.unit_ids, None, dropout_seeds(rows, total=5))
        return supernet.train(training)(own, routing).losses

    whole = losses(slice(0, 5))
    parts = torch.cat([losses(slice(0, 2)), losses(slice(2, 5))])
    torch.testing.assert_close(parts, whole, **within(EXACT))
    assert not torch.equal(whole, losses(slice(0, 5), training=False))
    assert whole.shape == (5, LENGTH)
