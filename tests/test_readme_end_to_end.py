"""From nothing to a shared model: the commands of two sections of the README, as they stand there.

They run in a shell, in their order; what loads the model is the section's Python, in another process.
"""

import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import chromium
import pytest
import torch
from stub import OWNER, TOKEN, Hub, running
from transformers import AutoModelForCausalLM

import cnas

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
CELL, TRANSFORMER = (
    README.split(f"\n## {title}\n")[1].split("\n## ")[0]
    for title in ("From nothing to a shared model", "A small transformer, for any tool")
)
HUB_PAGE = "".join(
    re.findall(
        r"<!-- not run: needs the Hub -->\n```python\n(.*?)```", (ROOT / "docs/hub.md").read_text("utf-8"), re.DOTALL
    )
)
"""What the page on the Hub shows of loading; it is run as well."""
SET_UP = ("make install", "source .venv/bin/activate")
"""What made the environment that the tests run in."""
SMALLER = (
    "--text.search-tokens 3000 --num-train-epochs 2 --search.updates 3 --search.derive-samples 5 "
    "--retrain.num-train-epochs 2"
)
"""Added to the search: the README's takes a minute."""
SMALLER_TRANSFORMER = (
    "--text.search-tokens 3000 --text.train-tokens 6000 --text.tokenizer bpe:300 --num-train-epochs 1 "
    "--retrain.num-train-epochs 1"
)
WITHOUT = "import sys\nsys.modules['cnas'] = None\n"
"""What makes `import cnas` fail, whoever tries it."""
SECONDS = 900
"""Against hanging: the slower of the two takes a minute or so."""


def code(language: str, section: str = CELL) -> str:
    """All of a section's blocks in one language."""
    return "".join(re.findall(rf"^```{language}\n(.*?)^```", section, re.MULTILINE | re.DOTALL))


def commands(section: str = CELL) -> list[str]:
    """A section's command lines without their comments."""
    lines = code("bash", section).splitlines()
    return [shlex.join(words) for line in lines if (words := shlex.split(line, comments=True))]


def word(command: str, index: int) -> str:
    return shlex.split(command)[index]


@dataclass
class Walk:
    """What the commands left in ``home`` and on the Hub, and what each of them printed."""

    home: Path
    hub: Hub
    printed: dict[str, str]

    def run(self, command: list[str]) -> str:
        """What a command prints that knows the Hub by its environment alone."""
        env = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TRANSFORMERS_"))}
        env |= {"HF_ENDPOINT": self.hub.url, "HF_HOME": str(self.home / "cache"), "HF_HUB_DISABLE_XET": "1"}
        env |= {"HF_TOKEN": TOKEN, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
        done = subprocess.run(
            command, cwd=self.home, env=env, capture_output=True, text=True, check=False, timeout=SECONDS
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout


def walked(home: Path, hub: Hub, lines: list[str], smaller: str) -> Walk:
    """Some commands, walked through; the repository belongs to whoever the local Hub takes for the user."""
    found = Walk(home, hub, {})
    for command in lines:
        line = command.replace(" ada/", f" {OWNER}/")
        line = f"{line} {smaller}" if line.startswith("cnas search") else line
        found.printed[command] = found.run(["bash", "-c", line])
    return found


@pytest.fixture(scope="module")
def walk(tmp_path_factory):
    """The section on a cell."""
    home = tmp_path_factory.mktemp("newcomer")
    (home / "recipes").symlink_to(ROOT / "recipes")
    with running() as hub:
        yield walked(home, hub, commands()[len(SET_UP) :], SMALLER)


def test_the_section_sets_up_searches_reports_generates_and_pushes():
    assert tuple(commands()[: len(SET_UP)]) == SET_UP
    search, *rest = commands()[len(SET_UP) :]
    assert search.startswith("cnas search --preset ptb_cl_enas/smoke --output-dir ")
    assert [shlex.split(command)[:2] for command in rest] == [["cnas", name] for name in ("report", "generate", "push")]
    run = word(search, -1)
    assert [word(command, 2) for command in rest] == [run] * 3


def test_a_searched_cell_is_shared_and_loaded_in_another_process(walk):
    search, _, generate, push = walk.printed
    folder = walk.home / word(search, -1)
    result = json.loads((folder / "result.json").read_text("utf-8"))
    assert result["search"]["epochs"] == 2
    assert result["architecture"]["string"] in walk.printed[search]
    assert result["curriculum"]["k"] == 5

    assert walk.printed[generate].strip().startswith(word(generate, 3))
    assert len(walk.printed[generate].split()) > 1

    name = word(push, 3).replace("ada/", f"{OWNER}/")
    assert walk.printed[push].startswith(f"{walk.hub.url}/{name}/commit/")
    assert name in walk.hub.files(name)["README.md"].decode()
    assert TOKEN not in "".join(walk.printed.values())
    assert walk.run(["cnas", "--version"]) == f"cnas {cnas.__version__}\n"

    asking = f"""
import json, torch
{"".join([HUB_PAGE, code("python")]).replace('"ada/', f'"{OWNER}/')}
with torch.no_grad():
    print(json.dumps(model.eval()(torch.arange(20)[None]).logits.tolist()))
"""
    told = walk.run([sys.executable, "-c", asking]).splitlines()
    with torch.no_grad():
        here = AutoModelForCausalLM.from_pretrained(folder / "model").eval()(torch.arange(20)[None]).logits
    assert torch.equal(torch.tensor(json.loads(told[-1])), here)
    # What the section itself prints: a line of text.
    assert len(told) == 2
    assert told[0].split()


def test_a_searched_transformer_is_shared_and_loaded_where_cnas_is_not(tmp_path):
    lines = commands(TRANSFORMER)
    with running() as hub:
        walk = walked(tmp_path, hub, lines, SMALLER_TRANSFORMER)
        search, report, generate, push = lines
        folder = tmp_path / word(search, -1)
        result = json.loads((folder / "result.json").read_text("utf-8"))
        assert result["retrain"]["parameters"] <= float(word(search, 5).partition("<=")[2])
        assert result["architecture"]["string"] in walk.printed[search]
        page = (tmp_path / walk.printed[report].strip()).read_text("utf-8")
        assert "<strong>Loss against parameters</strong>" in page
        assert walk.printed[generate].strip().startswith(word(generate, 3))
        name = word(push, 3).replace("ada/", f"{OWNER}/")
        files = hub.files(name)
        assert "(figures/front.svg)" in files["README.md"].decode()
        assert {"figures/front.svg", "model.safetensors", "tokenizer.json"} <= files.keys()
        assert not [file for file in files if file.endswith(".py")]
        asking = code("python", TRANSFORMER).replace('"ada/', f'"{OWNER}/')
        asking = (
            f"{WITHOUT}{asking}\nprint(type(model).__name__, model.eval()(torch.arange(20)[None]).logits.sum().item())"
        )
        kind, total = walk.run([sys.executable, "-c", f"import torch\n{asking}"]).splitlines()[-1].split()
    here = AutoModelForCausalLM.from_pretrained(folder / "model").eval()(torch.arange(20)[None]).logits.sum().item()
    assert (kind, float(total)) == ("LlamaForCausalLM", here)


@pytest.mark.browser
@pytest.mark.skipif(chromium.PROGRAM is None, reason=chromium.MISSING)
def test_its_report_opens_in_a_browser(walk):
    _, report, _, _ = walk.printed
    page = walk.home / walk.printed[report].strip()
    with chromium.browser() as tab:
        tab.open(page, 1200)
        assert tab.reports("Runtime.exceptionThrown", "Log.entryAdded") == []
        assert tab.evaluate("document.querySelectorAll('figure svg').length") > 5
        cell = json.loads((page.parent / "result.json").read_text("utf-8"))["architecture"]["string"]
        assert cell in tab.evaluate("document.body.innerText")
