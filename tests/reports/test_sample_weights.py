import json
import shutil
from dataclasses import replace

import made_up
import numpy as np
import pytest

from cnas.data.text import load_text
from cnas.reports.drawing import style
from cnas.reports.record import read_run
from cnas.reports.weights import LISTED, SampleWeights, draw_histogram, sample_weights
from cnas.runs.task import load_task
from cnas.runs.text import CONTEXT, TextTask


@pytest.fixture
def copy(judged, tmp_path):
    return shutil.copytree(judged, tmp_path / "copy")


def words(text, ids):
    return " ".join(text.vocabulary.words[index] for index in ids.tolist())


def test_the_heaviest_and_the_lightest_chunks_are_shown(home, judged):
    found = sample_weights(read_run(judged))
    config = made_up.config(home)
    text = load_text(config.data, config.text)
    rows, length = config.trainer.global_batch_size, config.text.length
    streams = text.search[: len(text.search) // rows * rows].view(rows, -1)
    assert (len(found.heaviest), len(found.lightest), found.note, found.epoch) == (LISTED, LISTED, "", 4)
    # The made-up weights grow with the unit, and a unit is (chunk, stream).
    assert [unit for unit, _ in found.lightest] == list(range(LISTED))
    assert [unit for unit, _ in found.heaviest] == [len(found.values) - 1 - i for i in range(LISTED)]
    for unit, sample in (*found.heaviest, *found.lightest):
        chunk, stream = divmod(unit, rows)
        labels = streams[stream, chunk * length + 1 : (chunk + 1) * length + 1]
        assert (sample.text, sample.marked) == (words(text, labels), "")


def test_a_token_is_shown_after_the_words_before_it(home, tmp_path):
    config = made_up.config(home, unit="token")
    found = sample_weights(read_run(made_up.write_run(tmp_path / "run", config)))
    text = load_text(config.data, config.text)
    rows, length = config.trainer.global_batch_size, config.text.length
    streams = text.search[: len(text.search) // rows * rows].view(rows, -1)
    for unit, sample in (*found.heaviest, *found.lightest):
        chunk, rest = divmod(unit, rows * length)
        stream, place = divmod(rest, length)
        at = chunk * length + place + 1
        assert sample.marked == words(text, streams[stream, at : at + 1])
        assert sample.text == words(text, streams[stream, max(chunk * length, at - CONTEXT) : at])


def test_the_texts_of_the_caller_are_enough(home, copy):
    config = made_up.config(home)
    task = load_task(config)
    made_up.change(copy / "config.json", data=str(home / "gone"))
    assert sample_weights(read_run(copy), task).heaviest


def test_data_out_of_reach_are_told(home, copy):
    made_up.change(copy / "config.json", data=str(home / "gone"))
    found = sample_weights(read_run(copy))
    assert len(found.values)
    assert found.heaviest == found.lightest == ()
    assert found.note.startswith("The samples behind the weights are not shown: ")
    assert "gone" in found.note
    assert str(home) not in found.note


def test_other_data_are_not_taken_for_those_of_the_run(copy):
    made_up.change(copy / "search.json", fingerprint="0" * 16)
    assert "the data has changed" in sample_weights(read_run(copy)).note


def test_a_search_that_goes_on_is_checked_by_its_checkpoint(copy):
    for name in ("search.json", "result.json"):
        (copy / name).unlink()
    assert sample_weights(read_run(copy)).heaviest
    known = json.loads((copy / "config.json").read_text("utf-8"))
    made_up.change(copy / "config.json", trainer=known["trainer"] | {"seed": 2})
    assert "started with another configuration" in sample_weights(read_run(copy)).note


def test_another_number_of_units_is_told(home, judged):
    config = made_up.config(home)
    text = load_text(config.data, config.text)
    short = replace(text, search=text.search[:300])
    assert "units and the checkpoint" in sample_weights(read_run(judged), TextTask(config, short)).note


def test_a_damaged_checkpoint_is_told(copy, tmp_path):
    (state,) = copy.glob("checkpoints/search/step-*/state.safetensors")
    state.write_bytes(state.read_bytes()[:-1])
    found = sample_weights(read_run(copy))
    assert not len(found.values)
    assert "no whole checkpoint is left" in found.note
    assert str(tmp_path) not in found.note


def test_nothing_to_show(plain, copy):
    assert sample_weights(read_run(plain)) is None
    shutil.rmtree(copy / "checkpoints")
    assert sample_weights(read_run(copy)) is None


@pytest.mark.parametrize("values", [[1.0], [1.0] * 7, [0.5, 1.0, 1.5]])
def test_histograms_of_few_and_of_equal_weights(values):
    with style():
        drawing = draw_histogram(SampleWeights(1, np.array(values)), "chunks")
    assert f"weights of {len(values)} chunks" in drawing.alternative
