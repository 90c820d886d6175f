"""bfloat16 follows float32: the same searches, with losses a few in a hundred apart at most."""

import json

import torch
from accelerate.state import AcceleratorState
from builders import build_session, build_space, build_trainer

from cnas.curricula import Uncertainty

EPOCH, WHOLE = 0.2, 0.05
"""How far the mean training loss of an epoch, and of all steps, may be from that of float32, relative to it. Three
normalisations over five images each make a step's loss depend on roundings; on all steps together they cancel."""
STEPS = 6
"""Of an epoch; packed chunks have one more."""
SEARCHES = {
    "enas": ("enas_rnn", Uncertainty(num_candidates=3, unit="token"), 1.0),
    "gdas": ("nats", Uncertainty(num_candidates=3, unit="sample"), 0.02),
    "sandwich": ("gpt", Uncertainty(num_candidates=3, unit="token"), 0.1),
}
"""Space, curriculum and learning rate: slow enough on images that 28 of them are not known by heart."""


def losses(folder, name, precision, epochs):
    """The mean training loss of every epoch, and the dtypes of the weights; forgets the precision."""
    space, curriculum, rate = SEARCHES[name]
    context = build_session(folder / f"{name}-{precision}", cpu=True, mixed_precision=precision)
    sizes = {"num_train_epochs": epochs, "global_batch_size": 5, "eval_batch_size": 5, "learning_rate": rate}
    trainer = build_trainer(context, curriculum, space=build_space(space), algorithm=name, **sizes)
    trainer.train()
    assert trainer.progress.step == len(trainer.batches) * epochs >= STEPS * epochs
    assert {parameter.dtype for parameter in trainer.model.parameters()} == {torch.float32}
    assert trainer.curriculum.v.dtype == torch.float32
    AcceleratorState._reset_state(reset_partial_state=True)
    lines = (context.folder / "metrics.jsonl").read_text("utf-8").splitlines()
    return torch.tensor([json.loads(line)["train_loss"] for line in lines], dtype=torch.float64)


def test_bfloat16_follows_float32(tmp_path, budget, measured):
    epochs, found = budget(4, 34), {}
    for name in SEARCHES:
        exact, rounded = (losses(tmp_path, name, precision, epochs) for precision in ("no", "bf16"))
        assert not torch.equal(exact, rounded), "bfloat16 was not used"
        apart, whole = (rounded / exact - 1).abs().max(), (rounded.mean() / exact.mean() - 1).abs()
        assert float(apart) <= EPOCH, (name, exact, rounded)
        assert float(whole) <= WHOLE, (name, exact, rounded)
        found[name] = f"{name} {100 * float(apart):.2g} % in an epoch, {100 * float(whole):.2g} % in all"
    measured(f"training loss over {STEPS * epochs} steps, from float32: {'; '.join(found.values())}")
