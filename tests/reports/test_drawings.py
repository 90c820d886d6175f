import math
import re
import struct
import sys
import xml.etree.ElementTree as ET

import made_up
import pytest

from cnas.reports.cell_graph import draw_architecture
from cnas.reports.curves import draw_accuracy, draw_comparison, draw_learning_curve
from cnas.reports.drawing import VARIABLES, course, finish, style
from cnas.reports.policy import draw_policy, entropy, heat_map, weight_tables
from cnas.reports.probes import draw_probes
from cnas.reports.record import RunRecord, read_run
from cnas.reports.weights import draw_weights

NATS = "|nor_conv_1x1~0|+|nor_conv_3x3~0|nor_conv_1x1~1|+|none~0|nor_conv_3x3~1|none~2|"


@pytest.fixture(scope="module")
def record(judged):
    return read_run(judged)


def everything(record):
    with style():
        found = [draw_learning_curve(record, "search"), draw_learning_curve(record, "retrain")]
        found += [draw_architecture(record.space, record.architecture)] if record.architecture else []
        found += [draw_probes(record), *draw_policy(record), *draw_weights(record)]
    return [drawing for drawing in found if drawing is not None]


@pytest.fixture(scope="module")
def drawings(record):
    return everything(record)


def test_every_figure_is_drawn(drawings):
    assert [drawing.name for drawing in drawings] == [
        "search_curve",
        "retrain_curve",
        "cell",
        "probes",
        "policy_entropy",
        "operation_weights",
        "alphas",
        "alphas_change",
        "weights",
        "effective_sample_size",
    ]


def test_every_figure_has_a_size_and_says_what_it_shows(drawings):
    for drawing in drawings:
        svg = ET.fromstring(drawing.inline("x"))
        assert int(svg.get("width")) > 300
        assert int(svg.get("height")) > 50
        assert svg.get("role") == "img"
        assert svg.get("aria-label") == drawing.alternative
        assert re.search(r"\d", drawing.alternative)


def test_inside_a_page_colours_are_the_page_s_and_ids_are_unique(drawings):
    inline = drawings[0].inline("first")
    assert not [colour for colour in VARIABLES if colour in inline.lower()]
    assert "var(--series-1)" in inline
    ids = re.findall(r'\bid="([^"]+)"', inline)
    assert ids
    assert all(name.startswith("first-") for name in ids)
    uses = re.findall(r'(?:url\(|href=")#([^")]+)', inline)
    assert uses
    assert set(uses) <= set(ids)


def test_files_are_the_figures_themselves(drawings, tmp_path):
    drawings[0].save(tmp_path, "curve")
    png = (tmp_path / "curve.png").read_bytes()
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">I", png[16:20])[0] > 600
    assert ET.fromstring((tmp_path / "curve.svg").read_text("utf-8")).tag.endswith("svg")


def test_equal_runs_give_equal_figures_and_no_global_state(record, drawings):
    with style():
        assert draw_learning_curve(record, "search") == drawings[0]
        assert draw_architecture(record.space, record.architecture) == drawings[2]
    assert "matplotlib.pyplot" not in sys.modules


def test_words_tell_the_numbers(drawings):
    words = {drawing.name: drawing.alternative for drawing in drawings}
    last = math.exp(4.1 - 1)
    assert f"to {last:.4g} in epoch 4" in words["search_curve"]
    assert "node 2 = identity of node 1" in words["cell"]
    assert "from 1 in epoch 1 to 1.4 in epoch 4" in words["weights"]
    assert "to 99 in epoch 4" in words["effective_sample_size"]


def test_nothing_measured_nothing_drawn(record, tmp_path):
    bare = RunRecord(tmp_path, record.config)
    assert everything(bare) == []
    rows = [{"phase": "search", "epoch": 1, "train_loss": None, "valid_perplexity": 1e300, "alphas": [[1]]}]
    assert everything(RunRecord(tmp_path, record.config, rows)) == []


def test_a_loss_without_perplexity_is_drawn_as_it_is(record, tmp_path):
    rows = [{"phase": "retrain", "epoch": 1, "train_loss": 2.0, "valid_loss": 2.5}]
    (drawing,) = everything(RunRecord(tmp_path, {}, rows))
    assert "loss over epochs: training 2 in epoch 1; validation 2.5 in epoch 1" in drawing.alternative


def classified(record, **more):
    rows = [{"phase": "search", "epoch": n, "valid_loss": 2.5, "valid_accuracy": 10.0 * n, **more} for n in (1, 2, 3)]
    return RunRecord(record.path, {"space": {"name": "nats"}}, rows, {"string": NATS})


def test_what_is_classified_has_its_accuracy(record):
    found = classified(record)
    with style():
        assert draw_accuracy(record, "search") is None
        drawing = draw_accuracy(found, "search")
        both = draw_comparison([found, found], "search")
    assert "Validation accuracy in % over epochs: from 10 in epoch 1 to 30 in epoch 3" in drawing.alternative
    assert "highest 30" in drawing.alternative
    assert "Validation accuracy in % over epochs: run 1" in both.alternative


def letters(drawing):
    return [node.text for node in ET.fromstring(drawing.svg).iter() if node.tag.endswith("text") and node.text]


def test_rows_of_a_cell_whose_nodes_read_several_name_the_edges_and_the_legend_fits(record):
    with style():
        drawing = draw_probes(classified(record, probe_architecture=NATS))
    assert [word for word in letters(drawing) if "→" in word] == ["0 → 1", "0 → 2", "1 → 2", "0 → 3", "1 → 3", "2 → 3"]
    spans = [float(at) for at in re.findall(r'x="([-\d.]+)"[^>]*>', drawing.svg)]
    assert min(spans) >= 0


def test_small_changes_are_numbers_and_long_headings_have_two_lines(record):
    space = classified(record).space
    edges, operations = space.shape
    table = [[0.0012, -0.0007, -0.00001, *[0.0] * (operations - 3)] for _ in range(edges)]
    with style():
        found = letters(finish(heat_map(space, None, table, 0.0012), "x", "x", "x"))
    assert {word for word in found if re.fullmatch(r"−?\d\.\d+", word)} == {"0.0012", "−0.0007", "0.0000"}
    assert {"none", "skip_", "connect", "nor_conv_", "1x1"} <= set(found)


def test_a_long_search_is_thinned(record, tmp_path):
    rows = made_up.search_rows(60, record.space, curriculum=False)
    with style():
        drawing = draw_probes(RunRecord(tmp_path, record.config, rows))
    assert "each of 60 epochs" in drawing.alternative
    assert len(drawing.svg) < 100_000


def test_the_entropy_of_the_tables_stands_in_where_rows_have_none(record, tmp_path):
    rows = [{k: v for k, v in row.items() if k != "policy_entropy"} for row in record.rows]
    bare = RunRecord(tmp_path, record.config, rows)
    with style():
        first = draw_policy(bare)[0]
    (_, begin), *_, (_, end) = weight_tables(bare)
    assert f"from {entropy(begin, record.space):,.4g} in epoch 1" in first.alternative
    assert entropy(end, record.space) < entropy(begin, record.space)


def test_a_uniform_table_has_the_entropy_of_the_space(record):
    edges, operations = record.space.shape
    uniform = [[1 / operations] * operations for _ in range(edges)]
    expected = sum(math.log(len(group)) for group in record.space.mixtures())
    assert entropy(uniform, record.space) == pytest.approx(expected)


def test_all_runs_are_drawn_over_each_other(record, plain):
    with style():
        drawing = draw_comparison([record, read_run(plain)], "retrain")
        assert draw_comparison([record], "retrain") is None
    assert "run 1, curriculum, K = 3, from" in drawing.alternative
    assert "run 2, plain, from" in drawing.alternative
    assert "Broken lines" in drawing.caption


def test_a_course_of_one_epoch():
    assert course([(3, 7.0)]) == "7 in epoch 3"
