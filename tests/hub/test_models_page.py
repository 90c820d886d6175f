import re
from pathlib import Path

import pytest

import cnas

PAGE = Path(cnas.__file__).parents[1] / "docs" / "models.md"


def test_the_code_of_the_page_runs(model_folder, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(model_folder.parent)
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL))
    # The metric's scratch file goes to the test's own folder.
    code = code.replace("WordPerplexity()", f"WordPerplexity(cache_dir={str(tmp_path)!r})")
    scope = {}
    exec(compile(code, "docs/models.md", "exec"), scope)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + 1 + 3 + 1 + 1
    expected = {"word_perplexity": pytest.approx(float(lines[-2]), rel=1e-5), "tokens": 8}
    assert scope["metric"].compute(losses=scope["losses"]) == expected


def test_the_page_lists_the_files_of_the_folder(model_folder):
    table = re.findall(r"^\| (`.*?) \|", PAGE.read_text("utf-8"), re.MULTILINE)
    listed = {name for row in table for name in re.findall(r"`(.+?)`", row)}
    assert listed == {path.name for path in model_folder.iterdir()}
