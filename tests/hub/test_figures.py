import math
import struct

from cnas.hub import draw_figures, figures

SEARCH = [
    {
        "phase": "search",
        "epoch": epoch,
        "step": 10 * epoch,
        "train_loss": 6 - epoch / 10,
        "valid_loss": 5.9 - epoch / 10,
        "valid_perplexity": math.exp(5.9 - epoch / 10),
        "weight_min": 0.8,
        "weight_median": 1.0,
        "weight_max": 1.5,
        "effective_sample_size": 0.9,
        "reward": 0.4,
    }
    for epoch in range(1, 5)
]
RETRAIN = [{"phase": "retrain", "epoch": epoch, "train_loss": 5.0, "valid_loss": 4.9} for epoch in range(1, 3)]


def size(path):
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", data[16:24])


def names(paths):
    return [path.name for path in paths]


def test_draws_both_figures_with_a_panel_per_phase(tmp_path):
    both = draw_figures([*SEARCH, *RETRAIN], tmp_path / "figures")
    assert names(both) == ["learning_curve.png", "sample_weights.png"]
    one = draw_figures(SEARCH, tmp_path / "one")
    assert size(both[0])[0] == 2 * size(one[0])[0]


def test_no_weights_no_weights_figure(tmp_path):
    plain = [{key: row[key] for key in row if not key.startswith("weight_")} for row in SEARCH]
    assert names(draw_figures(plain, tmp_path)) == ["learning_curve.png"]


def test_weights_alone_are_enough(tmp_path):
    rows = [{"phase": "search", "epoch": 1, "weight_max": 2.0}]
    assert names(draw_figures(rows, tmp_path)) == ["sample_weights.png"]


def test_nothing_to_draw(tmp_path):
    rows = [{"phase": "search", "epoch": 1, "train_loss": math.nan, "valid_loss": 1e9, "valid_perplexity": math.inf}]
    assert draw_figures([], tmp_path) == []
    assert draw_figures(rows, tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_images_have_losses_and_words_perplexities():
    images = [{key: row[key] for key in row if key != "valid_perplexity"} | {"valid_accuracy": 9.0} for row in SEARCH]
    for rows, unit, first in ((SEARCH, "perplexity per word", math.exp(5.9)), (images, "loss (nats)", 5.9)):
        (axes,) = figures._learning_curve(rows).axes
        assert axes.get_ylabel() == unit
        assert axes.lines[0].get_ydata()[0] == first


def test_the_effective_sample_size_is_a_share():
    _, axes = figures._sample_weights(SEARCH).axes
    assert "% of units" in axes.get_ylabel()
    assert list(axes.lines[0].get_ydata()) == [90.0] * 4


def test_gaps_and_one_epoch_are_drawn(tmp_path):
    rows = [{**SEARCH[0], "train_loss": None, "weight_min": math.nan}, {"phase": "other", "epoch": 2}]
    assert names(draw_figures(rows, tmp_path)) == ["learning_curve.png", "sample_weights.png"]


def test_equal_rows_give_equal_bytes_and_no_global_state(tmp_path):
    import sys

    first = [path.read_bytes() for path in draw_figures(SEARCH, tmp_path / "a")]
    second = [path.read_bytes() for path in draw_figures(SEARCH, tmp_path / "b")]
    assert first == second
    assert "matplotlib.pyplot" not in sys.modules
