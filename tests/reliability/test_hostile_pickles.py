"""Malicious pickles wherever a pickle could be looked for: refused, and nothing of them has run."""

import bz2
import contextlib
import io
import pickle
import random
import shutil
import sys

import pytest
from damage import damaged_bytes
from hostile_pickles import called, corpus
from refusals import Counted, command, taken

from cnas.benchmarks import NatsFiles
from cnas.data import ImageConfig, load_images
from cnas.data.unpickle import safe_load
from cnas.training import checkpoint

WATCHED = {"os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "socket.connect", "code.__new__"}


class Watch:
    """What the interpreter is asked to do while it is on; a hook cannot be taken out again."""

    def __init__(self):
        self.on, self.seen = False, []
        sys.addaudithook(self._hook)

    def _hook(self, event, args):
        if self.on and event in WATCHED:
            self.seen.append(event)

    @contextlib.contextmanager
    def watching(self):
        self.on = True
        try:
            yield
        finally:
            self.on = False


@pytest.fixture(scope="module")
def watch():
    return Watch()


@pytest.fixture
def canary(tmp_path):
    return tmp_path / "canary"


def places(folder, data):
    """By name, files that hold the pickle where cnas looks for data, and what opens them."""
    nats, images = folder / "nats", folder / "images"
    for place in (nats, images):
        place.mkdir(exist_ok=True)
    (nats / "meta.pickle.pbz2").write_bytes(bz2.compress(data))
    for name in (*(f"train_data_batch_{number}" for number in range(1, 11)), "val_data"):
        (images / name).write_bytes(data)
    return {
        "plain": lambda: safe_load(io.BytesIO(data), "it"),
        "NATS-Bench": lambda: NatsFiles(nats),
        "ImageNet16": lambda: load_images(str(images), ImageConfig()),
    }


def test_malicious_pickles_are_refused_before_they_run(tmp_path, canary, watch, measured):
    evil, opened = corpus(canary), 0
    for name, data in evil.items():
        for place, call in places(tmp_path, data).items():
            with watch.watching():
                assert not taken(call), (name, place)
            assert not canary.exists(), (name, place)
            opened += 1
    assert watch.seen == []
    measured(f"0 of {opened} executed ({len(evil)} pickles, plain, in bz2 and as ImageNet16)")


def test_the_corpus_is_alive(canary, watch):
    """The mutant: `pickle` itself, which runs what it is told."""
    ran, names = (
        0,
        ["os.system", "posix.system", "eval", "exec", "GLOBAL", "OBJ", "in a dict", "before its own protocol"],
    )
    for name in names:
        with watch.watching():
            pickle.loads(corpus(canary)[name])
        ran += canary.exists()
        canary.unlink(missing_ok=True)
    assert ran == len(names)
    assert "os.system" in watch.seen
    watch.seen.clear()


def test_pickles_in_a_run_folder_are_never_opened(finished, tmp_path, canary, watch, measured):
    run = shutil.copytree(finished, tmp_path / "run")
    evil = called("os", "system", f"touch {canary}")
    step = max((run / "checkpoints" / "search").glob("step-*"))
    for name in ("custom_checkpoint_0.pkl", "random_states_0.pkl", "optimizer.bin", "state.pt"):
        (step / name).write_bytes(evil)
    for name in ("pytorch_model.bin", "training_args.bin", "optimizer.pt"):
        (run / "model" / name).write_bytes(evil)
    (run / "model" / "model.safetensors").unlink()
    with watch.watching():
        assert checkpoint.load_newest(run / "checkpoints" / "search").path == step
        assert not taken(command("generate", str(run), "w1"))
    assert watch.seen == []
    assert not canary.exists()
    measured("0 of 7 opened; weights that are a pickle are refused")


def test_code_in_a_model_folder_is_never_run(finished, tmp_path, canary, watch, measured):
    run = shutil.copytree(finished, tmp_path / "run")
    evil = f"import os\nos.system('touch {canary}')\n"
    codes = [*(run / "model").glob("*.py")]
    for path in codes:
        path.write_text(evil)
    config = run / "model" / "config.json"
    with watch.watching():
        assert taken(command("generate", str(run), "w1"))
        config.write_text(config.read_text().replace('"cnas-rnn"', '"stranger"'))
        assert not taken(command("generate", str(run), "w1"))
    assert watch.seen == []
    assert not canary.exists()
    measured(f"0 of {len(codes)} files run, also for a model type that nobody knows")


def test_damaged_pickles_are_read_or_refused(budget, measured):
    held = {"meta_archs": ["|none~0|"] * 3, "x": {("a", 1): [1.5, None, True, b"b", 10**20]}, "s": {1, "2"}}
    wholes, counted = [pickle.dumps(held, protocol) for protocol in range(6)], Counted()
    for case in range(budget(2_000, 30_000)):
        draws = random.Random(case)
        data = draws.choice(wholes)
        data = damaged_bytes(data, draws) if case else data
        counted.add(lambda data=data: safe_load(io.BytesIO(data), "it"))
    counted.both()
    measured(str(counted))
