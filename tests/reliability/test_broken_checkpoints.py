"""Files of a checkpoint that are cut, flipped, missing or of another format: found, named, and the one before used."""

import random
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from saving import HASH, newest, save

from cnas.errors import CheckpointError, UserError
from cnas.training import checkpoint
from cnas.training.checkpoint import MANIFEST, STATE, TRAINER

FILES = (STATE, TRAINER, MANIFEST)
STORED = Path(__file__).parent / "format-1"
"""A checkpoint of the first format, as it was written when that was the format."""


@pytest.fixture
def two(tmp_path):
    """The folder of two checkpoints, of which tests break the newer one."""
    save(tmp_path, 1)
    save(tmp_path, 2)
    return tmp_path


def falls_back(root, file):
    """The one before is used, and the broken one and its file are named."""
    loaded = newest(root)
    assert loaded.step == 1, f"a broken {file} was used"
    assert len(loaded.broken) == 1
    assert loaded.broken[0].startswith(f"{root / 'step-2'}: {file} ")


def check_all(root, damaged):
    """How many of the damages, (file, its new content), were found."""
    for name, data in damaged:
        path = root / "step-2" / name
        whole = path.read_bytes()
        path.write_bytes(data)
        falls_back(root, name)
        path.write_bytes(whole)
    assert newest(root).step == 2
    return len(damaged)


def flips(root, draws, count):
    """Each file with one bit flipped, ``count`` times."""
    for name in FILES:
        whole = (root / "step-2" / name).read_bytes()
        for _ in range(count):
            place, bit = draws.randrange(len(whole)), draws.randrange(8)
            yield name, whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :]


def test_every_truncated_file_is_found(two, budget, measured):
    draws, damaged = random.Random(10), []
    for name in FILES:
        whole = (two / "step-2" / name).read_bytes()
        lengths = {0, 1, len(whole) - 1, *draws.sample(range(2, len(whole) - 1), 17)}
        damaged += [(name, whole[:length]) for length in lengths]
    found = check_all(two, damaged)
    measured(f"{found} of {len(damaged)} found ({found // len(FILES)} lengths of each of {len(FILES)} files)")


def test_every_flipped_bit_is_found(two, budget, measured):
    damaged = [*flips(two, random.Random(11), budget(20, 300))]
    found = check_all(two, damaged)
    measured(f"{found} of {len(damaged)} found ({found // len(FILES)} bits in each of {len(FILES)} files)")


def test_without_checksums_flipped_bits_are_not_found(two, budget, measured, monkeypatch):
    """The seeded bug: only the sizes of files are compared."""
    monkeypatch.setattr(checkpoint, "_sha256", lambda data: "")
    for step in (1, 2):
        save(two, step)
    whole = (two / "step-2" / STATE).read_bytes()
    damaged = [flipped for flipped in flips(two, random.Random(11), budget(20, 300)) if flipped[0] == STATE]
    used = 0
    for name, data in damaged:
        (two / "step-2" / name).write_bytes(data)
        found = checkpoint.load_newest(two, config_hash=HASH)
        used += found is not None and found.step == 2
    (two / "step-2" / STATE).write_bytes(whole)
    with pytest.raises(AssertionError):
        check_all(two, damaged)
    measured(f"{used} of {len(damaged)} flips in the tensors are not found where nothing is checked")


@settings(derandomize=True, deadline=None, max_examples=30)
@given(data=st.data())
def test_edited_bytes_are_found(tmp_path_factory, data):
    root = tmp_path_factory.mktemp("edited")
    save(root, 1)
    save(root, 2)
    name = data.draw(st.sampled_from(FILES))
    whole = (root / "step-2" / name).read_bytes()
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, min(len(whole), start + 20)))
    edited = whole[:start] + data.draw(st.binary(max_size=20)) + whole[end:]
    if edited != whole:
        check_all(root, [(name, edited)])


def lose(path):
    path.unlink()


def empty(path):
    path.write_bytes(b"")


def become_a_folder(path):
    path.unlink()
    path.mkdir()


def become_a_loop(path):
    path.unlink()
    path.symlink_to(path.name)


def test_a_missing_or_empty_file_is_found(two, measured):
    cases = [(damage, name) for damage in (lose, empty, become_a_folder, become_a_loop) for name in FILES]
    for damage, name in cases:
        shutil.copytree(two / "step-2", two.parent / "kept")
        damage(two / "step-2" / name)
        falls_back(two, name)
        shutil.rmtree(two / "step-2")
        (two.parent / "kept").rename(two / "step-2")
    measured(f"{len(cases)} of {len(cases)} found")


def strays(root):
    """What somebody else, or a kill, may have left among the checkpoints."""
    for name in ("step-", "step-03", "step-x", "step-3.tmp", "latest", ".begun-step-9", ".doomed-step-1"):
        (root / name).mkdir()
        (root / name / MANIFEST).write_text("{}")
    (root / "step-7").write_text("a file")
    (root / "notes.txt").write_text("mine")
    (root / "step-2" / "extra.bin").write_bytes(b"x")
    return 10


def test_what_is_no_checkpoint_is_left_alone(two, measured):
    count = strays(two)
    loaded = newest(two)
    assert (loaded.step, loaded.broken) == (2, ())
    save(two, 3)
    assert newest(two).step == 3
    assert (two / "notes.txt").read_text() == "mine"
    left = {path.name for path in two.iterdir()}
    assert left >= {"step-", "step-03", "step-x", "step-3.tmp", "latest", "step-7", "notes.txt"}
    assert not [name for name in left if name.startswith(".")]
    measured(f"{count} of {count} strays: the newest whole checkpoint is used")


def test_where_none_is_whole_the_run_is_refused_with_each_of_them_named(two, measured):
    for step in (1, 2):
        (two / f"step-{step}" / STATE).write_bytes(b"")
    with pytest.raises(CheckpointError) as caught:
        newest(two)
    message = str(caught.value)
    assert CheckpointError.exit_code == 3
    assert "\n" not in message
    named = [step for step in (1, 2) if f"{two / f'step-{step}'}: {STATE} has 0 bytes" in message]
    assert named == [1, 2]
    measured(f"exit code 3, {len(named)} of 2 named")


def test_a_stored_checkpoint_of_each_format_is_read_or_refused(two, measured, monkeypatch):
    loaded = checkpoint.load_newest(STORED, config_hash=HASH)
    assert loaded is not None
    assert loaded.step == 3
    assert loaded.state["weights"].tolist() == [3.0] * 4
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "FORMAT", checkpoint.FORMAT + 1)
        with pytest.raises(UserError, match=r"step-2 has checkpoint format 1, this version of cnas reads 2$"):
            newest(two)
        save(two, 4)
    with pytest.raises(UserError, match=r"step-4 has checkpoint format 2, this version of cnas reads 1$"):
        newest(two)
    measured("1 of 1 formats read; an older and a newer one refused in one line")
