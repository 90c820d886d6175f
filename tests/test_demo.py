import json
import re
import runpy
from pathlib import Path

import pytest

from cnas.cli.launch import parse
from cnas.runs.config import RunConfig
from cnas.sweeps import demo

ROOT = Path(__file__).parents[1]
CELL = "node 1 = tanh(input)\n\ninput\n└─ tanh → node 1\n"

FAKE_RECIPE = f"""
import json, pathlib, sys
folder = pathlib.Path(sys.argv[sys.argv.index("--output-dir") + 1])
plain = "--no-curriculum" in sys.argv
if folder.name == "demo-plain" and pathlib.Path("code").exists():
    sys.exit(int(pathlib.Path("code").read_text()))
folder.mkdir(parents=True, exist_ok=True)
result = {{
    "curriculum": None if plain else {{"k": 5}}, "seed": 1, "space": "enas_rnn",
    "dataset": {{"name": "pydoc", "fingerprint": "f"}},
    "architecture": {{"string": "0 1" if plain else "0 0"}},
    "retrain": {{"valid_perplexity": 12.5 + plain, "test_perplexity": 1234.567 + plain}},
}}
(folder / "result.json").write_text(json.dumps(result))
(folder / "cell.txt").write_text({CELL!r}, encoding="utf-8")
(folder / "samples.txt").write_text("a b\\nc d\\ne f\\n")
(folder / "argv.json").write_text(json.dumps(sys.argv[1:]))
"""


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """A recipe that writes made-up runs at once."""
    monkeypatch.chdir(tmp_path)
    recipe = tmp_path / "fake_recipe.py"
    recipe.write_text(FAKE_RECIPE, "utf-8")
    return recipe


def test_both_runs_are_the_smoke_preset_and_differ_in_the_curriculum_alone():
    configs = {name: parse(None, [*demo.FLAGS, *flags])[0] for name, flags in demo.RUNS.items()}
    with_curriculum, plain = configs["demo-curriculum"].to_json(), configs["demo-plain"].to_json()
    assert with_curriculum == RunConfig.from_preset("ptb_cl_enas/smoke").to_json()
    assert plain == {**with_curriculum, "curriculum": None}


def test_the_end_shows_the_cell_both_perplexities_three_lines_and_the_card(fake, capfd):
    assert demo.main([fake]) == 0
    out = capfd.readouterr().out
    end = out[out.index("Cell found with the curriculum") :]
    assert "curriculum: 0 0\n" in end
    assert CELL in end
    assert re.search(r"^  curriculum, K = 5 +12\.50 +1234\.57\n  no curriculum +13\.50 +1235\.57$", end, re.MULTILINE)
    assert "  a b\n  c d\n  e f\n" in end
    assert "proves nothing" in end
    assert end.rstrip().endswith(f"Model card: {Path('runs', 'demo-curriculum', 'README.md')}")


def test_both_runs_have_what_is_left_of_the_time(fake, capfd):
    assert demo.main([fake], argv=["--stop-after", "9h"]) == 0
    calls = [json.loads(Path("runs", name, "argv.json").read_text("utf-8")) for name in demo.RUNS]
    (first, second) = [float(word[13:-1]) for call in calls for word in call if word.startswith("--stop-after=")]
    assert 0 < second < first < 9 * 3600
    assert demo.main([fake], argv=["--stop-after", "0.01s"]) == 0
    call = json.loads(Path("runs", "demo-plain", "argv.json").read_text("utf-8"))
    assert "--stop-after=0.01s" in call
    assert parse(None, [*demo.FLAGS, "--stop-after=0.01s"])[0].trainer.stop_after == "0.01s"


def test_a_mistake_is_one_line_and_code_2(fake, capfd):
    assert demo.main([fake], argv=["--stop-after", "0"]) == 2
    assert demo.main([fake], argv=["--jobs", "2"]) == 2
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines()[0].startswith("error: --stop-after must be a time above 0")
    assert captured.err.splitlines()[1].startswith("error: unknown flag --jobs")


def test_both_runs_can_be_called_again(fake, capfd):
    assert [demo.main([fake]), demo.main([fake])] == [0, 0]
    calls = [json.loads(Path("runs", name, "argv.json").read_text("utf-8")) for name in demo.RUNS]
    assert all("--resume" in call for call in calls)
    assert ["--no-curriculum" in call for call in calls] == [False, True]


@pytest.mark.parametrize(("code", "hint"), [(2, True), (75, False)])
def test_a_run_that_fails_ends_the_demo_with_its_code(fake, capfd, code, hint):
    Path("code").write_text(str(code), "utf-8")
    assert demo.main([fake]) == code
    captured = capfd.readouterr()
    assert "Cell found" not in captured.out
    assert ("delete" in captured.err) == hint


def test_the_recipe_is_the_demo_and_uses_the_command():
    assert runpy.run_path(str(ROOT / "recipes" / "demo.py"))["main"] is demo.main
    assert demo.COMMAND == ("-m", "cnas", "search")
