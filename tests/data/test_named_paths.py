"""A path is exactly the file or folder of that name, whatever its characters; local data needs nothing else."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from made_images import made, write_classes, write_parquet
from pyarrow import Table, parquet

from cnas.benchmarks.nats import NEEDED
from cnas.benchmarks.table_files import read_columns, write_columns
from cnas.data import ImageConfig, TextConfig, load_images, load_text
from cnas.data.paths import named
from cnas.errors import UserError

SPLITS = ("train", "validation", "test")
NASTY = [
    "run[1]",
    "run[!2]",
    "run*",
    "ru?1",
    "**",
    "{run1,run2}",
    "a%20b",
    "a#b",
    "a::b",
    "zip:",
    "hf:",
    "~",
    "~root",
    "-x",
    " a ",
    "...",
    "$HOME",
    "\\",
    'a"b',
    "a\nb",
    "ü",
    "\udcff",
    "a=b&c;d",
]
ADDRESSES = ["hf://datasets/a/b", "file://a", "zip://train.parquet::a.zip", "https://x.org/a?b=c#d", "s3://a/b", "~/a"]
DECOYS = ["run1", "run2", "a b", "a", "b"]
law = settings(
    derandomize=True, deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def write_text(folder, word, kind):
    """A folder of three splits, each of which has the word and its own name; of the other format, something else."""
    folder.mkdir(parents=True)
    for split in SPLITS:
        if kind == "txt":
            (folder / f"{split}.txt").write_text(f"{word} {split}\n", "utf-8")
        else:
            with (folder / f"{split}.parquet").open("wb") as file:
                parquet.write_table(Table.from_pydict({"text": [f"{word} {split}"]}), file)
    return folder


def spellings(name, home):
    """Other ways to name the same folder, from inside the home."""
    link = home / "link"
    link.unlink(missing_ok=True)
    link.symlink_to(home / name, target_is_directory=True)
    return [name, f"./{name}", f"./{name}/", f"{name}//", str(home / name), f"link/../{Path(name).name}", "link"]


def words(data):
    return load_text(data, TextConfig()).vocabulary.words[2:]


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty working folder that is the home too, in which several folders could be taken for another."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    for name in DECOYS:
        write_text(tmp_path / "work" / name, "OTHER", "parquet")
    write_text(tmp_path / "home", "OTHER", "txt")
    return tmp_path / "work"


@pytest.mark.parametrize("kind", ["txt", "parquet"])
def test_text_is_read_from_the_folder_that_is_named(home, kind):
    for name in [*NASTY, *ADDRESSES]:
        write_text(home / name, "MINE", kind)
        for spelling in spellings(name, home):
            assert words(spelling) == ("MINE", "train"), spelling


@law
@given(st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=20))
def test_any_name_is_exactly_that_folder(tmp_path_factory, name):
    assume(name not in {".", ".."} and len(name.encode()) < 200)
    base = tmp_path_factory.mktemp("any")
    write_text(base / name, "MINE", "parquet")
    assert words(str(base / name)) == ("MINE", "train")
    assert named(f"{base}/{name}") == base / name
    assert named(f"{base}/{name}x") is None


def test_images_are_read_from_the_folder_that_is_named(home):
    mine, other = ({"train": made(4, seed=seed), "test": made(4, seed=seed)} for seed in (1, 2))
    parts = [
        (write_parquet(home / "mine-p", mine), write_parquet(home / "other-p", other)),
        (write_classes(home / "mine-c", mine, list("xyz")), write_classes(home / "other-c", other, list("xyz"))),
    ]
    for source, decoy in parts:
        expected = load_images(str(source), ImageConfig()).fingerprint
        shutil.rmtree(home / "run1")
        shutil.copytree(decoy, home / "run1")
        for name in [*NASTY[:4], "hf://x/y", "~"]:
            shutil.rmtree(home / name, ignore_errors=True)
            shutil.copytree(source, home / name)
            for spelling in spellings(name, home):
                assert load_images(spelling, ImageConfig()).fingerprint == expected, spelling


@pytest.mark.parametrize("name", ["run[1].json", "~", "a*.json", "file:/x.json"])
def test_a_split_file_is_the_file_that_is_named(home, name):
    halves = {"train": ["int", ["0", "2", "4"]], "valid": ["int", ["1", "3", "5"]]}
    write_parquet(home / "mine", {"train": made(6), "test": made(3)})
    (home / name).parent.mkdir(exist_ok=True)
    (home / name).write_text(json.dumps(halves), "utf-8")
    assert len(load_images("mine", ImageConfig(split_file=name)).train) == 3


@pytest.mark.parametrize("name", ["run[1]", "*", "file:/x", "s3:/x", "a#b"])
def test_a_table_is_the_file_that_is_named(home, name):
    columns = {column: ["x" if column == "arch" else 1] for column in NEEDED}
    path = Path(name)
    path.parent.mkdir(exist_ok=True)
    write_columns(columns, path)
    assert read_columns(path, NEEDED) == columns
    assert read_columns(home / name, NEEDED) == columns


def test_a_home_is_meant_where_nothing_has_its_name(home):
    write_text(home.parent / "home" / "mine", "MINE", "txt")
    assert words("~/mine") == ("MINE", "train")
    write_text(home / "~" / "mine", "REALLY", "txt")
    assert words("~/mine") == ("REALLY", "train")


def test_a_file_is_no_folder_and_an_address_that_is_none_is_refused(home):
    for read, config in ((load_text, TextConfig()), (load_images, ImageConfig())):
        with pytest.raises(UserError, match=r"^data must name a folder, got the file 'run1/train.parquet'$"):
            read("run1/train.parquet", config)
        for address in [*ADDRESSES, "run*", "run[12]", "../nowhere", "nowhere/", "file:///etc"]:
            with pytest.raises(UserError, match=r"^data must be .*, got '"):
                read(address, config)


HOSTILE = """
import socket, sys
def refused(*_, **__): raise OSError("no network")
socket.socket.connect = socket.getaddrinfo = refused
from cnas.data import *
for folder in sys.argv[1:3]: print(load_text(folder, TextConfig()).name)
for folder in sys.argv[3:5]: print(load_images(folder, ImageConfig()).name)
assert "datasets" not in sys.modules
import tiny_recipe
sys.exit(tiny_recipe.main(["--data", sys.argv[1], "--output-dir", "out"]))
"""


def test_local_files_need_neither_home_nor_cache_nor_network(tmp_path):
    """All four kinds of local data are read, and a whole run is done."""
    import tiny_recipe

    texts, images = [tmp_path / "txt", tmp_path / "rows"], {"train": made(6), "test": made(3)}
    tiny_recipe.write_corpus(texts[0])
    write_text(texts[1], "MINE", "parquet")
    pictures = [write_parquet(tmp_path / "table", images), write_classes(tmp_path / "classes", images, list("xyz"))]
    paths = os.pathsep.join([str(Path(tiny_recipe.__file__).parent), *sys.path])
    nowhere = {"HOME": "/proc/none", "HF_HOME": "/dev/null/x", "HF_HUB_OFFLINE": "1", "XDG_CACHE_HOME": "/dev/null/y"}
    kept = {"PATH", "TMPDIR", *(name for name in os.environ if name.endswith("VISIBLE_DEVICES"))}
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-c", HOSTILE, *map(str, [*texts, *pictures])],
        cwd=tmp_path,
        env=environment | nowhere | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:4] == ["txt", "rows", "table", "classes"]
    assert (tmp_path / "out" / "result.json").is_file()


@pytest.mark.parametrize("failure", [FileNotFoundError(2, "No such file", "/proc/none"), ConnectionError("offline")])
def test_a_cache_that_cannot_be_used_is_named(monkeypatch, failure):
    import datasets

    def load(*_, **__):
        raise failure

    monkeypatch.setattr(datasets, "load_dataset", load)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", "/dev/null/x/datasets")
    for read, config in ((load_text, TextConfig()), (load_images, ImageConfig())):
        with pytest.raises(
            UserError, match="needs the cache of `datasets`, and /dev/null/x/datasets cannot be"
        ) as told:
            read("some/name", config)
        assert "\n" not in str(told.value)
        assert "HF_HOME" in str(told.value)


def test_a_full_disk_of_the_cache_is_named(monkeypatch, tmp_path):
    import datasets

    def load(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(datasets, "load_dataset", load)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path))
    with pytest.raises(UserError, match=f"needs the cache of `datasets`, and the disk of {tmp_path} or .* is full"):
        load_text("some/name", TextConfig())
