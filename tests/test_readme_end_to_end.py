"""From nothing to a shared model: the commands of the README's section of that name, as they stand there.

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
SECTION = (ROOT / "README.md").read_text("utf-8").split("\n## From nothing to a shared model\n")[1].split("\n## ")[0]
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
SECONDS = 900
"""Against hanging: the slower of the two takes a minute or so."""


def code(language: str) -> str:
    """All of the section's blocks in one language."""
    return "".join(re.findall(rf"^```{language}\n(.*?)^```", SECTION, re.MULTILINE | re.DOTALL))


def commands() -> list[str]:
    """The section's command lines without their comments."""
    return [shlex.join(words) for line in code("bash").splitlines() if (words := shlex.split(line, comments=True))]


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


@pytest.fixture(scope="module")
def walk(tmp_path_factory):
    """The section, walked through; its repository belongs to whoever the local Hub takes for the user."""
    home = tmp_path_factory.mktemp("newcomer")
    (home / "recipes").symlink_to(ROOT / "recipes")
    with running() as hub:
        found = Walk(home, hub, {})
        for command in commands()[len(SET_UP) :]:
            line = command.replace(" ada/", f" {OWNER}/")
            line = f"{line} {SMALLER}" if line.startswith("cnas search") else line
            found.printed[command] = found.run(["bash", "-c", line])
        yield found


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
