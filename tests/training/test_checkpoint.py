import json
import math
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cnas import durable
from cnas.errors import CheckpointError, UserError
from cnas.training import checkpoint
from cnas.training.checkpoint import MANIFEST, STATE, TRAINER, load, load_newest, save

HASH = "0123abcd"
DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool]
SHAPES = [(), (0,), (3,), (2, 0, 3), (2, 3)]


def bits(value: Any) -> Any:
    """A form of ``value`` that is equal exactly where type, structure, order and bits are."""
    match value:
        case torch.Tensor():
            raw = value.detach().contiguous().reshape(-1).view(torch.uint8)
            return ("tensor", value.dtype, value.shape, raw.tolist())
        case float():
            return ("float", struct.pack("d", value))
        case dict():
            return ("dict", [(bits(key), bits(item)) for key, item in value.items()])
        case list() | tuple():
            return (type(value), [bits(item) for item in value])
    return (type(value), value)


def same(left: Any, right: Any) -> bool:
    return bits(left) == bits(right)


def example(step: int) -> dict[str, Any]:
    return {"weights": torch.full((4,), float(step)), "optimizer": {0: {"step": step, "lr": 0.1}}, "history": [step]}


def save_example(root: Path, step: int, keep: int = 2) -> Path:
    return save(root, step, example(step), config_hash=HASH, keep=keep)


def newest_step(root: Path) -> int:
    """The step of the newest whole checkpoint, whose state must be that step's."""
    loaded = load_newest(root, config_hash=HASH)
    assert loaded is not None
    assert same(loaded.state, example(loaded.step))
    return loaded.step


def names(root: Path) -> set[str]:
    return {path.name for path in root.iterdir()}


@st.composite
def tensors(draw: st.DrawFn) -> torch.Tensor:
    dtype, shape = draw(st.sampled_from(DTYPES)), draw(st.sampled_from(SHAPES))
    raw = draw(st.binary(min_size=64, max_size=64)) if dtype is not torch.bool else bytes(range(2)) * 32
    tensor = torch.frombuffer(bytearray(raw), dtype=dtype)[: math.prod(shape)].reshape(shape)
    return tensor.t() if tensor.ndim == 2 and draw(st.booleans()) else tensor


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | tensors()
keys = st.text(max_size=5) | st.integers()
states = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple) | st.dictionaries(keys, inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.dictionaries(st.text(max_size=5), states, max_size=4))
def test_round_trip_keeps_structure_types_and_bits(tmp_path_factory: Any, state: dict[str, Any]) -> None:
    root = tmp_path_factory.mktemp("root")
    save(root, 1, state, config_hash=HASH)
    loaded = load_newest(root)
    assert loaded is not None
    assert same(loaded.state, state)


def test_views_of_one_storage_come_back_equal_and_apart(tmp_path: Path) -> None:
    base = torch.arange(6.0)
    state = {
        "base": base,
        "part": base[1:3],
        "twice": base,
        "wide": base[:1].expand(3),
        "weight": torch.nn.Linear(2, 2).weight,
    }
    save(tmp_path, 1, state, config_hash=HASH)
    loaded = load_newest(tmp_path)
    assert loaded is not None
    assert all(torch.equal(loaded.state[name], tensor) for name, tensor in state.items())
    loaded.state["base"].zero_()
    assert loaded.state["twice"].tolist() == base.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]


def test_a_resumed_optimizer_and_module_go_on_identically(tmp_path: Path) -> None:
    def build() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        model = torch.nn.Linear(3, 3)
        return model, torch.optim.AdamW(model.parameters(), lr=0.1)

    def advance(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        model(torch.ones(2, 3)).square().sum().backward()
        optimizer.step()

    model, optimizer = build()
    advance(model, optimizer)
    save(tmp_path, 1, {"model": model.state_dict(), "optimizer": optimizer.state_dict()}, config_hash=HASH)
    advance(model, optimizer)
    again, its_optimizer = build()
    loaded = load_newest(tmp_path)
    assert loaded is not None
    again.load_state_dict(loaded.state["model"])
    its_optimizer.load_state_dict(loaded.state["optimizer"])
    advance(again, its_optimizer)
    assert torch.equal(model.weight, again.weight)


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ({1, 2}, "state.a[0]"),
        (object(), "state.a[0]"),
        ({1.5: 0}, "state.a[0]"),
        (torch.eye(2).to_sparse(), "state.a[0]"),
    ],
)
def test_what_cannot_be_held_is_named_and_nothing_is_written(tmp_path: Path, value: Any, where: str) -> None:
    with pytest.raises(TypeError) as caught:
        save(tmp_path / "root", 1, {"a": [value]}, config_hash=HASH)
    assert str(caught.value).startswith(where)
    assert not (tmp_path / "root").exists()


def test_nothing_is_pickled_and_no_device_is_named() -> None:
    source = Path(checkpoint.__file__).read_text() + Path(durable.__file__).read_text()
    assert not [word for word in ("pickle", "torch.save", "torch.load", "eval(", ".cpu(", ".cuda(") if word in source]


def test_info_holds_threads_versions_and_the_callers_extras(tmp_path: Path) -> None:
    save(tmp_path, 1, {}, config_hash=HASH, info={"world": 2, "by_rank": {2: 0.5, 10: 1.5}})
    loaded = load_newest(tmp_path)
    assert loaded is not None
    assert loaded.info["threads"] == torch.get_num_threads()
    assert loaded.info["versions"]["torch"] == torch.__version__
    assert set(loaded.info["versions"]) == {"cnas", "torch", "python"}
    assert (loaded.info["world"], loaded.info["by_rank"]) == (2, {"2": 0.5, "10": 1.5})


# Which checkpoint is taken


def test_no_folder_or_no_checkpoint_is_none(tmp_path: Path) -> None:
    assert load_newest(tmp_path / "missing") is None
    (tmp_path / ".begun-step-3").mkdir()
    (tmp_path / "step-7").write_text("a file")
    (tmp_path / "step-07").mkdir()
    (tmp_path / "step-x").mkdir()
    assert load_newest(tmp_path) is None


def test_newest_is_by_number_and_strays_are_ignored(tmp_path: Path) -> None:
    for step in (9, 10):
        save_example(tmp_path, step)
    (tmp_path / "step-best").mkdir()
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "step-10" / "extra.txt").write_text("hello")
    assert newest_step(tmp_path) == 10


def test_purge_keeps_the_newest_and_removes_leftovers(tmp_path: Path) -> None:
    (tmp_path / ".begun-step-1").mkdir()
    (tmp_path / ".doomed-step-0").mkdir()
    for step in range(5):
        save_example(tmp_path, step)
    assert names(tmp_path) == {"step-3", "step-4"}
    save_example(tmp_path, 5, keep=1)
    assert names(tmp_path) == {"step-5"}
    with pytest.raises(UserError, match="keep must be at least 1, got 0"):
        save_example(tmp_path, 6, keep=0)


def test_what_is_pinned_stays_and_is_read_by_its_number(tmp_path: Path) -> None:
    for step in range(6):
        save(tmp_path, step, example(step), config_hash=HASH, pinned=(0, 2))
    assert {path.name for path in tmp_path.iterdir()} == {"step-0", "step-2", "step-4", "step-5"}
    state = load(tmp_path, 2, config_hash=HASH)
    assert str(state) == str(load_newest(save(tmp_path / "other", 2, example(2), config_hash=HASH).parent).state)
    save(tmp_path, 6, example(6), config_hash=HASH)
    assert {path.name for path in tmp_path.iterdir()} == {"step-5", "step-6", "other"}
    with pytest.raises(CheckpointError, match=r"step-2 is no whole checkpoint: manifest\.json is missing"):
        load(tmp_path, 2)


def test_a_broken_later_checkpoint_does_not_push_out_the_one_just_saved(tmp_path: Path) -> None:
    save_example(tmp_path, 1)
    (save_example(tmp_path, 9) / STATE).unlink()
    save_example(tmp_path, 2, keep=1)
    assert newest_step(tmp_path) == 2


def test_broken_newest_falls_back_and_is_named(tmp_path: Path) -> None:
    save_example(tmp_path, 1)
    (save_example(tmp_path, 2) / TRAINER).unlink()
    loaded = load_newest(tmp_path)
    assert loaded is not None
    assert (loaded.step, loaded.path) == (1, tmp_path / "step-1")
    assert loaded.broken == (f"{tmp_path / 'step-2'}: {TRAINER} is missing",)


def test_a_renamed_or_empty_checkpoint_is_broken(tmp_path: Path) -> None:
    save_example(tmp_path, 1).rename(tmp_path / "step-2")
    (tmp_path / "step-3").mkdir()
    with pytest.raises(CheckpointError) as caught:
        load_newest(tmp_path)
    assert "step-2: manifest.json is that of step 1" in str(caught.value)
    assert "step-3: manifest.json is missing" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 3


def test_another_configuration_is_the_users_error(tmp_path: Path) -> None:
    save_example(tmp_path, 1)
    with pytest.raises(UserError, match="another configuration: hash 0123abcd, now ffffffff"):
        load_newest(tmp_path, config_hash="ffffffff")


def test_the_stamp_is_that_of_the_newest_whole_manifest(tmp_path: Path) -> None:
    assert checkpoint.newest_stamp(tmp_path / "nowhere") is None
    save_example(tmp_path, 1)
    assert checkpoint.newest_stamp(tmp_path) == "0123abcd"
    for content in (b"", b"[]", b"{}", (tmp_path / "step-1" / MANIFEST).read_bytes().replace(b"0123abcd", b"ffffffff")):
        (tmp_path / "step-2").mkdir(exist_ok=True)
        (tmp_path / "step-2" / MANIFEST).write_bytes(content)
        assert checkpoint.newest_stamp(tmp_path) == "0123abcd"


def test_another_format_is_the_users_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "FORMAT", 2)
        save_example(tmp_path, 1)
    with pytest.raises(UserError, match="has checkpoint format 2, this version of cnas reads 1"):
        load_newest(tmp_path)


def test_the_files_are_plain_json_and_safetensors(tmp_path: Path) -> None:
    path = save_example(tmp_path, 1)
    assert names(path) == {STATE, TRAINER, MANIFEST}
    manifest = json.loads((path / MANIFEST).read_text())
    assert {name: entry["size"] for name, entry in manifest["files"].items()} == {
        name: (path / name).stat().st_size for name in (STATE, TRAINER)
    }
    assert manifest["config_hash"] == HASH
