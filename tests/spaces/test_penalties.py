"""AR and TAR are those of the code each space and preset comes from. Legend: B sequences, T tokens, H hidden units."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cnas.random import DropoutSeeds
from cnas.spaces import DartsRnnSpace, EnasRnnSpace, LanguageModelSizes
from cnas.spaces._language_model import LanguageModelShell
from cnas.sweeps.grid import Recipe

RECIPES = Path(__file__).parents[2] / "recipes"
RATE = 0.75
SIZES = {"vocab_size": 11, "hidden_size": 5, "dropout_output": RATE, "activation_penalty": 0.7, "tar": 2.0}


def penalised(sizes):
    """(penalty, outputs h, output mask m) of a training batch."""
    shell, draws = LanguageModelShell(sizes).double().train(), torch.Generator().manual_seed(1)
    raw_BTH = torch.randn(6, 4, sizes.hidden_size, generator=draws, dtype=torch.float64)
    masks = shell.masks(6, DropoutSeeds(1, "test", 0, slice(0, 6), 6))
    return shell.losses(raw_BTH, torch.zeros(6, 4, dtype=torch.long), masks)[1], raw_BTH, masks.output


def tar(outputs_BTH):
    steps = [outputs_BTH[:, t + 1] - outputs_BTH[:, t] for t in range(outputs_BTH.shape[1] - 1)]
    return 2.0 * torch.stack(steps).pow(2).mean()


@pytest.mark.parametrize(
    ("sizes", "squares"),
    [
        (EnasRnnSpace(**SIZES), lambda outputs, _: outputs**2),
        (DartsRnnSpace(**SIZES), lambda outputs, mask: (outputs * mask) ** 2),
        (LanguageModelSizes(**SIZES), lambda outputs, mask: (outputs * mask) ** 2),
    ],
    ids=["enas_lm", "DARTS", "AWD-LSTM"],
)
def test_each_space_penalises_what_its_source_does(sizes, squares):
    penalty, outputs_BTH, mask = penalised(sizes)
    torch.testing.assert_close(penalty, 0.7 * squares(outputs_BTH, mask).mean() + tar(outputs_BTH))


def test_the_dropped_output_is_penalised_four_times_as_much_at_a_rate_of_three_quarters():
    many = LanguageModelSizes(**{**SIZES, "hidden_size": 4000, "tar": 0.0})
    dropped, raw = (penalised(replace(many, penalised_output=output))[0] for output in ("dropped", "raw"))
    assert float(dropped / raw) == pytest.approx(1 / (1 - RATE), rel=0.05)


@pytest.mark.parametrize(
    ("recipe", "networks", "spaces"),
    [
        ("ptb_cl_enas", {"raw"}, {"raw"}),
        ("ptb_cl_darts", {"dropped"}, {"dropped"}),
        # The table trains every cell as the authors of DARTS do.
        ("ptb_table3", {"dropped"}, {"raw", "dropped"}),
    ],
)
def test_presets_penalise_what_their_sources_do(recipe, networks, spaces):
    found = Recipe.load(RECIPES / f"{recipe}.py")
    for preset in ("smoke", "cpu", "paper"):
        rows = found.rows(preset).values()
        assert {row.network.penalised_output for row in rows} == networks
        assert {row.space.penalised_output for row in rows} == spaces


@pytest.mark.parametrize("space", [EnasRnnSpace, DartsRnnSpace])
@pytest.mark.parametrize("output", ["raw", "dropped"])
def test_a_model_folder_keeps_it_and_one_that_does_not_say_it_means_the_dropped_output(tmp_path, space, output):
    space = space(nodes=2, penalised_output=output, **SIZES)
    network = space.build_network(space.sample(torch.Generator().manual_seed(0)))
    network.save_pretrained(tmp_path)
    assert type(network).from_pretrained(tmp_path).shell.sizes.penalised_output == output
    values = json.loads((tmp_path / "config.json").read_text("utf-8"))
    values.pop("penalised_output", None)
    (tmp_path / "config.json").write_text(json.dumps(values), "utf-8")
    assert type(network).from_pretrained(tmp_path).shell.sizes.penalised_output == "dropped"


def test_another_output_is_refused():
    with pytest.raises(ValueError, match="penalised_output must be dropped or raw, got 'both'"):
        LanguageModelSizes(penalised_output="both")
