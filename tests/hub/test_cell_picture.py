import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from cnas.hub.cell import save_pictures
from cnas.reports import cell_graph
from cnas.reports.drawing import style
from cnas.reports.record import read_run
from cnas.runs.result import RunResult
from cnas.spaces import DartsRnnSpace, EnasRnnSpace

SVG = "{http://www.w3.org/2000/svg}"
CELLS = [
    (EnasRnnSpace(), "0 2 0 2 0 1 2 2 4 0 5 0 3 2 6 2"),
    (DartsRnnSpace(nodes=3, concat=(1, 3)), "tanh 0 sigmoid 1 identity 1"),
]


def result_of(space, text):
    architecture = {"space": space.name, "string": text}
    return {"space": space.name, "seed": 1, "architecture": architecture, "dataset": {"name": "a", "fingerprint": "b"}}


def save(space, text, folder):
    return save_pictures(space, RunResult.from_json(result_of(space, text)), {}, folder)


def names(space, text):
    return [space.operations[operation] for _, operation in space.parse(text).choices]


@pytest.mark.parametrize(("space", "text"), CELLS, ids=lambda value: getattr(value, "name", ""))
def test_the_picture_can_be_shown_by_whoever_shows_pictures(space, text, tmp_path):
    (words,) = save(space, text, tmp_path / "figures").values()
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {"cell.svg", "cell.png"}
    root = ElementTree.fromstring((tmp_path / "figures" / "cell.svg").read_text("utf-8"))
    assert root.tag == f"{SVG}svg"
    assert all(float(root.attrib[side].removesuffix("pt")) > 100 for side in ("width", "height"))
    written = [element.text for element in root.iter(f"{SVG}text")]
    assert sorted(word for word in written if word in space.operations) == sorted(names(space, text))
    assert "input" in written
    assert all(operation in words for operation in names(space, text))


@pytest.mark.parametrize(("space", "text"), CELLS, ids=lambda value: getattr(value, "name", ""))
def test_the_picture_holds_nothing_that_runs_or_comes_from_elsewhere(space, text, tmp_path):
    save(space, text, tmp_path)
    root = ElementTree.fromstring((tmp_path / "cell.svg").read_text("utf-8"))
    assert not {element.tag for element in root.iter()} & {
        f"{SVG}{tag}" for tag in ("script", "image", "foreignObject")
    }
    values = [(key.split("}")[-1], value) for element in root.iter() for key, value in element.attrib.items()]
    assert not [value for key, value in values if key == "href" and not value.startswith("#")]
    assert not [key for key, _ in values if key.startswith("on")]


def test_equal_cells_give_equal_files_and_the_report_the_same_one(tmp_path):
    space, text = CELLS[0]
    for name in ("one", "two"):
        save(space, text, tmp_path / name)
    first, second = ((tmp_path / name / "cell.svg").read_bytes() for name in ("one", "two"))
    assert first == second
    (tmp_path / "result.json").write_text(json.dumps(result_of(space, text)), "utf-8")
    with style():
        record = read_run(Path(tmp_path))
        drawing = cell_graph.draw_architecture(record.space, record.architecture)
    assert drawing.svg.encode() == first
