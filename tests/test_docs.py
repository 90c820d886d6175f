"""The documentation says what is: links, code blocks, command lines and tables are held against the project."""

import ast
import json
import re
import runpy
import shlex
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import partial
from pathlib import Path

import pytest

import cnas
from cnas import errors, presets, trainer
from cnas.cli import main as cli
from cnas.cli.launch import parse
from cnas.runs.config import RunConfig

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def load_recipes():
    """What every recipe with presets defines, by the name of its file; some build on others beside them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "recipes"))
        found = {path.stem: runpy.run_path(str(path)) for path in sorted((ROOT / "recipes").glob("*.py"))}
    return {name: recipe for name, recipe in found.items() if {"RECIPE", "PRESETS"} & recipe.keys()}


RECIPES = load_recipes()
TESTED_ELSEWHERE = {"docs/models.md"}
"""Pages whose code needs a trained model; `tests/hub/test_models_page.py` runs it."""
NOT_RUN = re.compile(r"<!-- not run: (\w[^>]*) -->\s*$")
LONG = "long"
"""The reason of a block that does a whole run; here it gets smaller sizes."""


@dataclass(frozen=True)
class Block:
    page: str
    line: int
    language: str
    code: str
    kept_from: str | None
    """Why the block is not run as it stands."""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def blocks(language: str) -> list[Block]:
    found = []
    for page in PAGES:
        text = page.read_text("utf-8")
        for match in re.finditer(r"^```(\w+)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            before = text[: match.start()]
            reason = NOT_RUN.search(before)
            found.append(Block(name_of(page), before.count("\n") + 1, match[1], match[2], reason and reason[1]))
    return [block for block in found if block.language == language]


def headings(page: Path) -> set[str]:
    """The anchors of a page, in the manner of GitHub."""
    titles = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def prose(page: Path) -> str:
    return re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_relative_links_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)\s]+)\)", prose(page))
    for target in targets:
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{name_of(page)} links to {target}"
        if anchor:
            assert anchor in headings(file), f"{name_of(page)} links to {target}"
        if page.is_relative_to(ROOT / "docs"):
            assert file.is_relative_to(ROOT / "docs"), f"{target} is not part of the site"


RUN_HERE = [block for block in blocks("python") if not block.kept_from and block.page not in TESTED_ELSEWHERE]


@pytest.mark.parametrize("block", blocks("python"), ids=str)
def test_python_blocks_compile(block):
    compile(block.code, str(block), "exec")


@pytest.mark.parametrize("block", RUN_HERE, ids=str)
def test_python_blocks_run(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(ROOT))
    exec(compile(block.code, str(block), "exec"), {"__name__": "block"})


@pytest.mark.parametrize("block", [block for block in blocks("python") if block.kept_from == LONG], ids=str)
def test_long_python_blocks_run_at_a_smaller_size(block, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(ROOT))
    sizes = {
        "text": {
            "vocab_size": 200,
            "search_tokens": 800,
            "train_tokens": 1500,
            "valid_tokens": 300,
            "test_tokens": 300,
        },
        "space": {"hidden_size": 16},
        "trainer": {"num_train_epochs": 1, "global_batch_size": 8, "eval_batch_size": 8},
        "retrain": {"num_train_epochs": 1, "global_batch_size": 8, "average_from": None},
    }
    found, chosen = presets.find, trainer.choose
    smaller = {**sizes, "search": {"updates": 2, "derive_samples": 2}}
    monkeypatch.setattr(presets, "find", lambda name: presets.merged(found(name), smaller))
    monkeypatch.setattr(
        trainer, "choose", lambda *own: RunConfig.from_json(presets.merged(chosen(*own).to_json(), sizes))
    )
    exec(compile(block.code, str(block), "exec"), {"__name__": "block"})
    assert capsys.readouterr().out.splitlines()[-1]
    assert [*tmp_path.glob("runs/*/result.json")]


def test_a_block_that_another_test_runs_is_named_there():
    told = {str(block): re.search(r"tests/\S+\.py", block.kept_from or "") for block in blocks("python")}
    named = {block: match[0] for block, match in told.items() if match}
    assert {"docs/analyses.md", "docs/benchmarks.md"} <= {block.split(":")[0] for block in named}
    for block, test in named.items():
        assert Path(block.split(":")[0]).name in (ROOT / test).read_text("utf-8"), f"{block} is not run by {test}"


def test_the_readme_shows_python_that_is_at_most_ten_lines():
    shown = [block for block in blocks("python") if block.page == "README.md"]
    assert shown
    assert all(len([line for line in block.code.splitlines() if line.strip()]) <= 10 for block in shown)


def command_lines() -> list[tuple[str, str]]:
    """(page, line) of every shell line in bash blocks, and of every command of a recipe in a table or sentence."""
    joined = [(block.page, block.code.replace("\\\n", " ")) for block in blocks("bash")]
    lines = [(page, line) for page, code in joined for line in code.splitlines()]
    for page in PAGES:
        inline = re.findall(r"(?<!`)`((?:python|torchrun|accelerate launch)\b[^`]*\.py[^`]*)`", prose(page))
        lines += [(name_of(page), line) for line in inline]
    return lines


def recipe_lines() -> list[tuple[str, str, list[str]]]:
    """(page, recipe, flags) of every call of a recipe; a placeholder number stands for 1."""
    found = []
    for page, line in command_lines():
        words = shlex.split(line, comments=True)
        scripts = [(i, Path(word).stem) for i, word in enumerate(words) if re.search(r"(^|/)recipes/\w+\.py$", word)]
        if scripts and scripts[0][1] in RECIPES:
            index, recipe = scripts[0]
            found.append((page, recipe, [re.sub(r"^N$", "1", word) for word in words[index + 1 :]]))
    return found


def parse_for(recipe: str, argv: list[str]) -> object:
    """What a recipe's own parser makes of a command line."""
    table = RECIPES[recipe].get("TABLE")
    return table.parse(argv) if table else parse(RECIPES[recipe]["RECIPE"], argv)


def presets_of(recipe: str) -> dict[str, object]:
    """What makes the configurations of a recipe, by the names of its presets."""
    names = [name for name in ("smoke", "cpu", "small", "gpu", "paper", "own") if f"{recipe}/{name}" in presets.names()]
    table = {name: partial(RunConfig.from_preset, f"{recipe}/{name}") for name in names}
    return RECIPES[recipe].get("PRESETS", table)


def test_there_are_recipe_lines_to_check():
    assert {page for page, _, _ in recipe_lines()} >= {"README.md", "docs/quickstart.md", "docs/recipes.md"}
    assert {recipe for _, recipe, _ in recipe_lines()} == set(RECIPES)
    called = {word for _, line in command_lines() for word in line.split() if word.startswith("recipes/")}
    assert [word for word in called - {"recipes/..."} if not (ROOT / word).is_file()] == []


def words_of(value: object) -> str:
    return value if isinstance(value, str) else " ".join(map(str, value)) if isinstance(value, list) else ""


@pytest.mark.parametrize(("page", "recipe", "argv"), recipe_lines(), ids=words_of)
def test_command_lines_are_accepted_by_the_recipe(page, recipe, argv, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    if "--config" in argv:
        file = Path(argv[argv.index("--config") + 1])
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(presets_of(recipe)["smoke"]().to_json()), "utf-8")
    if "--help" in argv:
        with pytest.raises(SystemExit, match="0"):
            parse_for(recipe, argv)
        assert "--output-dir" in capsys.readouterr().out
        return
    parse_for(recipe, argv)


ENDING = {"--help", "--version", "--print-completion"}
"""Flags of `cnas` that print something and end."""


def cnas_lines() -> list[tuple[str, list[str]]]:
    """(page, words) of every call of the `cnas` command, in a block or a sentence; its bare name is no call."""
    lines = command_lines()
    for page in PAGES:
        lines += [(name_of(page), line) for line in re.findall(r"(?<!`)`(cnas (?:[^\s`]+ |-)[^`]+)`", prose(page))]
    every = [(page, shlex.split(line, comments=True)) for page, line in lines]
    return [(page, words[1:]) for page, words in every if words[:1] == ["cnas"] and words[1:2] != ["COMMAND"]]


def test_every_command_of_cnas_is_in_the_documentation():
    assert {words[0] for _, words in cnas_lines()} - ENDING == set(cli.names())


@pytest.mark.parametrize(("page", "words"), cnas_lines(), ids=words_of)
def test_command_lines_are_accepted_by_cnas(page, words, tmp_path, monkeypatch, capsys):
    if ENDING & set(words):
        with pytest.raises(SystemExit, match="0"):
            cli.parse(words)
        assert capsys.readouterr().out
        return
    # A page may show all that can be said at once.
    words = [word.split("|")[0] for word in words] if words[0] == "list" else words
    command, given = cli.parse(words)
    # The other preset is that of docs/extending.md, which tests/test_plugins.py installs and runs.
    if words[0] == "search" and "acme/tiny" not in words:
        monkeypatch.chdir(tmp_path)
        parse(None, with_file(given.words))
    assert command.__name__ == f"cnas.cli.commands.{words[0]}"


def with_file(words: list[str]) -> list[str]:
    """The words of a command line, where the file that ``--config`` names is there: a smoke preset's."""
    if "--config" not in words:
        return words
    file = Path((*words, "file.json")[words.index("--config") + 1])
    file.parent.mkdir(parents=True, exist_ok=True)
    config = RunConfig.from_preset("ptb_cl_enas/smoke").to_json()
    file.write_text(json.dumps(config) if file.suffix == ".json" else "base: ptb_cl_enas/smoke\n", "utf-8")
    return words if words[-1] != "--config" else [*words, str(file)]


def test_make_targets_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    called = {words[1] for _, line in command_lines() if (words := shlex.split(line, comments=True))[:1] == ["make"]}
    assert {"demo", "test"} <= called <= targets


def table_rows(page: str, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading."""
    text = (ROOT / page).read_text("utf-8").split(f"\n## {heading}\n")[1]
    table = re.search(r"(?:^\|.*\|\n)+", text, re.MULTILINE)
    assert table
    rows = table[0].strip().split("\n")[2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]


def sizes(config: RunConfig) -> list[int | None]:
    """Data, width, epochs and batch of the search, unless the architecture is given; the same of the training."""
    search, training = config.trainer, config.retrain
    if config.text is not None:
        shown, used, width = config.text.search_tokens, config.text.train_tokens, "hidden_size"
    else:
        shown, used, width = config.images.search_images, config.images.train_images, "channels"
    # Where widths are searched there is none.
    widths = [[getattr(part, width)] if hasattr(part, width) else [] for part in (config.space, config.network)]
    searched = [] if config.architecture else [shown, *widths[0], search.num_train_epochs, search.global_batch_size]
    return [*searched, used, *widths[1], training.num_train_epochs, training.global_batch_size]


def preset_cells(name: str, preset: RunConfig | dict[str, RunConfig]) -> list[str]:
    """What the row of a preset should say; where it stands for several runs, each value they take."""
    configs = [preset] if isinstance(preset, RunConfig) else list(preset.values())
    columns = [list(column) for column in zip(*map(sizes, configs), strict=True)]
    words = [" / ".join("all" if n is None else f"{n:,}" for n in dict.fromkeys(column)) for column in columns]
    return [f"`{name}`", f"`{configs[0].data}`", *words]


@pytest.mark.parametrize(
    ("page", "heading", "recipe"),
    [("docs/recipes.md", f"`{name}`", name) for name in RECIPES],
)
def test_the_table_of_presets_is_true(page, heading, recipe):
    presets = presets_of(recipe)
    assert table_rows(page, heading) == [preset_cells(name, make()) for name, make in presets.items()]


def test_the_table_of_exit_codes_is_complete():
    listed = {int(code) for code, _ in table_rows("docs/recipes.md", "Exit codes")}
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and kind is not errors.CnasError]
    assert listed == {0, errors.INTERRUPTED, *(kind.exit_code for kind in kinds if issubclass(kind, errors.CnasError))}


def imports() -> dict[str, set[str]]:
    """By part of the package, the other parts its files import; ``.base`` where only interfaces are imported."""
    found: dict[str, set[str]] = {}
    for file in sorted((ROOT / "cnas").rglob("*.py")):
        part = file.relative_to(ROOT / "cnas").with_suffix("").parts[0]
        found.setdefault(part, set())
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and not node.level:
                modules = [node.module or ""]
            elif isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            else:
                continue
            found[part] |= {_target(module) for module in modules if module.startswith("cnas.")} - {
                part,
                f"{part}.base",
            }
    return {
        part: {name for name in names if name.removesuffix(".base") not in names - {name}}
        for part, names in found.items()
    }


def _target(module: str) -> str:
    first, *rest = module.split(".")[1:]
    return f"{first}.base" if rest == ["base"] else first


def test_the_table_of_imports_is_true():
    listed = {
        part.strip("`"): set() if names == "nothing" else set(re.findall(r"`([\w.]+)`", names))
        for part, names in table_rows("docs/architecture.md", "Who imports whom")
    }
    found = imports()
    above = {"cli", "hub", "reports", "runs", "studies", "sweeps", "trainer", "__init__", "__main__"}
    assert {part: names for part, names in found.items() if part not in above} == listed


def test_every_page_is_in_the_navigation():
    navigation = re.findall(r": ([\w/]+\.md)$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.MULTILINE)
    assert sorted(navigation) == sorted(
        page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")
    )


def test_versions_agree():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text("utf-8")
    assert f"\n## {version}" in (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert version == cnas.__version__


def own_texts() -> list[Path]:
    """The text files of the checkout that version control does not ignore."""
    ignored = [".git", *(line.rstrip("/") for line in (ROOT / ".gitignore").read_text("utf-8").split())]
    files, folders = [], [ROOT]
    while folders:
        entries = [e for e in folders.pop().iterdir() if not any(fnmatch(e.name, pattern) for pattern in ignored)]
        folders += [entry for entry in entries if entry.is_dir()]
        files += [entry for entry in entries if entry.is_file() and b"\0" not in entry.read_bytes()]
    return files


def test_no_file_names_a_place_of_somebody_s_machine():
    # Put together here, so that this file does not name them either.
    places = [
        "/" + "work/",
        "/" + "root/",
        "shared" + "/data",
        "files.python" + "hosted",
        "/opt/" + "wheels",
    ]
    files = [file for file in own_texts() if file.name != "LICENSE" and file != ROOT / ".ci" / "run"]
    assert ROOT / "README.md" in files
    found = [
        f"{name_of(file)}: {place}" for file in files for place in places if place in file.read_text("utf-8", "replace")
    ]
    assert not found
