"""A search whose steps are recorded is the search that is run step by step; a recorder stands in for CUDA.

Legend: B rows, K candidates.
"""

import math
from dataclasses import replace

import pytest
import torch
from builders import bits, build_session, build_space, build_trainer, fits, rows
from recording import calls, poisoning, recording
from rounding import NORMED, within

from cnas import algorithms
from cnas.curricula import Uncertainty
from cnas.errors import UserError
from cnas.spaces.pure import PureForward
from cnas.training import cuda_graphs, step_graphs
from cnas.training.step_graphs import StepGraphs
from cnas.types import Output

RECURRENT = ("darts_rnn", "enas_rnn")
CPU = torch.device("cpu")


def search(folder, graphs, **options):
    context = replace(build_session(folder), graphs=graphs)
    space = build_space(options.pop("space"), nodes=3)
    return build_trainer(context, space=space, dtype=torch.float64, num_train_epochs=2, **options)


def close(one, other):
    for mine, theirs in zip(one.model.parameters(), other.model.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-7, atol=1e-9)
    for mine, theirs in zip(one.algorithm.state_dict().values(), other.algorithm.state_dict().values(), strict=True):
        if isinstance(mine, torch.Tensor):
            torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-8)
    for mine, theirs in zip(rows(one.context.folder), rows(other.context.folder), strict=True):
        assert mine["train_loss"] == pytest.approx(theirs["train_loss"], rel=1e-8)
        assert mine["valid_loss"] == pytest.approx(theirs["valid_loss"], rel=1e-8)


CASES = [
    (space, algorithm, refresh)
    for space in RECURRENT
    for place, algorithm in enumerate(algorithms.names())
    for refresh in [("epoch", "step", None)[place % 3]]
    if fits(algorithm, space)
]


@pytest.mark.parametrize(("space", "algorithm", "refresh"), CASES)
def test_a_recorded_search_is_the_search(tmp_path, space, algorithm, refresh):
    curriculum = refresh and Uncertainty(num_candidates=2, unit="token", refresh=refresh)
    graphs = recording()
    found, expected = (
        search(tmp_path / name, each, space=space, algorithm=algorithm, curriculum=curriculum)
        for name, each in (("recorded", graphs), ("plain", StepGraphs()))
    )
    one, other = found.train(), expected.train()
    assert one.architecture == other.architecture
    close(found, expected)
    assert not graphs.problems
    assert kinds(graphs) >= {"weights", "losses"}, "weight steps and passes without gradient are recorded, both"


def kinds(graphs):
    """What was recorded."""
    return {"weights" if key[0] == "gradients" and key[-1] else key[0] for key, _ in graphs._graphs}


@pytest.mark.parametrize("micro_batch_size", [None, 3])
def test_parts_of_a_batch_are_added_up(tmp_path, micro_batch_size):
    options = {"space": "enas_rnn", "algorithm": "rsps", "micro_batch_size": micro_batch_size}
    found = search(tmp_path / "recorded", recording(), **options)
    expected = search(tmp_path / "plain", StepGraphs(), **options)
    found.train()
    expected.train()
    close(found, expected)
    assert "weights" in kinds(found.context.graphs)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("space", RECURRENT)
def test_products_of_fewer_digits_lead_near_to_the_exact_ones(tmp_path, space, dtype):
    found = search(tmp_path / "fewer", recording(dtype), space=space, algorithm="rsps")
    expected = search(tmp_path / "exact", StepGraphs(), space=space, algorithm="rsps")
    found.train()
    expected.train()
    assert "weights" in kinds(found.context.graphs)
    for mine, theirs in zip(rows(found.context.folder), rows(expected.context.folder), strict=True):
        assert mine["train_loss"] != theirs["train_loss"]
        assert mine["train_loss"] == pytest.approx(theirs["train_loss"], rel=0.02 if dtype is torch.bfloat16 else 0.005)


def test_recordings_share_the_memory_of_what_they_read(tmp_path):
    loop = search(tmp_path, recording(), space="darts_rnn", algorithm="darts_v2")
    loop.run()
    places: dict = {}
    for graph in loop.context.graphs._graphs.values():
        for name, tensor in graph.memory.items():
            places.setdefault((name, tensor.shape), set()).add(id(tensor))
    assert len(loop.context.graphs._graphs) > 3
    assert all(len(found) == 1 for found in places.values())


def test_one_record_serves_every_path_and_batch(tmp_path):
    loop = search(tmp_path, recording(), space="enas_rnn", algorithm="rsps")
    loop.run()
    assert sum("factor" in names for names in calls) == 1
    assert loop.context.graphs.describe()["graphs"] == len(calls)


def test_killed_and_resumed_is_uninterrupted_with_records_too(tmp_path):
    def loop(name, **options):
        return search(tmp_path / name, recording(), space="darts_rnn", algorithm="darts_v2", save_steps=1, **options)

    whole = loop("whole")
    whole.run()
    first = loop("parts")
    first.train_step = _until(first, 4)
    with pytest.raises(KeyboardInterrupt):
        first.run()
    again = loop("parts")
    assert again.resume()
    again.run()
    assert bits(again) == bits(whole)
    assert "weights" in kinds(again.context.graphs)


@pytest.mark.parametrize(
    ("first", "then", "words"), [(True, False, "off, and was on"), (False, True, "on, and was off")]
)
def test_going_on_with_or_without_records_is_said(tmp_path, capsys, first, then, words):
    def loop(recorded):
        graphs = recording() if recorded else StepGraphs()
        return search(tmp_path / "run", graphs, space="enas_rnn", algorithm="rsps", save_steps=1)

    begun = loop(first)
    begun.train_step = _until(begun, 3)
    with pytest.raises(KeyboardInterrupt):
        begun.run()
    assert loop(then).resume()
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning: torch_compile")]
    assert line.startswith(f"warning: torch_compile is {words} before: from here on")


def _until(loop, steps):
    own = loop.train_step

    def step(index):
        if loop.progress.step == steps:
            raise KeyboardInterrupt
        return own(index)

    return step


def test_a_record_that_fails_is_said_and_the_step_is_run(tmp_path, capsys):
    def refuse(function, memory):
        raise RuntimeError("no such kernel\nanywhere")

    found = search(tmp_path / "failing", StepGraphs(CPU, None, lambda: refuse), space="enas_rnn", algorithm="rsps")
    expected = search(tmp_path / "plain", StepGraphs(), space="enas_rnn", algorithm="rsps")
    found.train()
    expected.train()
    assert bits(found) | {"/recorded": False} == bits(expected)
    out = capsys.readouterr().out
    line = "warning: a step could not be recorded and is run as it is: RuntimeError: no such kernel anywhere"
    assert line in out.splitlines()
    assert found.context.graphs.describe()["graph_problems"][0] == "RuntimeError: no such kernel anywhere"


def test_where_nothing_can_be_compiled_steps_are_recorded_as_they_are(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(step_graphs, "PAYS_FROM", 1)
    made = []

    def recorder():
        made.append(len(made))

        def record(function, memory):
            if made == [0]:
                raise RuntimeError("no compiler")
            return poisoning(function, memory)

        return record

    found = search(
        tmp_path / "failing", StepGraphs(CPU, None, recorder, compiles=True), space="enas_rnn", algorithm="rsps"
    )
    expected = search(tmp_path / "plain", StepGraphs(), space="enas_rnn", algorithm="rsps")
    found.train()
    expected.train()
    close(found, expected)
    described = found.context.graphs.describe()
    assert described["graph_problems"] == ["RuntimeError: no compiler"]
    assert described["graphs"] == len(found.context.graphs._graphs) > 0
    assert (
        "could not be recorded and is recorded without compiling: RuntimeError: no compiler" in capsys.readouterr().out
    )


def test_what_has_no_form_to_record_is_said_once_a_loop(tmp_path, capsys):
    context = replace(build_session(tmp_path), graphs=recording())
    build_trainer(context, space=build_space("nats"), algorithm="rsps").run()
    line = "torch_compile: some steps of this loop are not recorded but run as they are"
    assert capsys.readouterr().out.splitlines().count(line) == 1


def test_the_recorder_finds_a_copy_that_is_forgotten():
    graphs, given = recording(), {"x": torch.ones(3), "forgotten": torch.ones(3)}

    def function(values, *_):
        return Output(values["x"] * values["forgotten"], None, None, values["x"].sum())

    forward = PureForward("key", function, given, {})
    assert graphs.losses(forward, {}).losses.tolist() == [1, 1, 1]
    (graph,) = graphs._graphs.values()
    graph.load({"x": given["x"]})
    assert graph.replay()["losses"].isnan().all()


def test_where_there_is_no_cuda_nothing_is_recorded():
    assert not cuda_graphs.step_graphs("auto", CPU, "no", print).active
    assert not cuda_graphs.step_graphs("off", CPU, "no", print).active
    with pytest.raises(UserError, match=r"^torch_compile must be auto or off on cpu, got on"):
        cuda_graphs.step_graphs("on", CPU, "no", print)


def test_padding_of_candidates_changes_nothing(tmp_path):
    loop = search(tmp_path, recording(), space="darts_rnn", algorithm="rsps")
    drawn = [loop.parts.space.sample(torch.Generator().manual_seed(seed)) for seed in range(7)]
    found = loop.scorer.validation(drawn, loop.parts.valid)
    each = torch.cat([loop.scorer.validation([one], loop.parts.valid) for one in drawn])
    torch.testing.assert_close(found, each, **within(NORMED))
    assert all(math.isfinite(loss) for loss in found.tolist())
