"""The state of a recurrent supernet goes from chunk to chunk, without its graph, and starts anew with every epoch."""

import torch
from builders import LENGTH, build_session, build_trainer

from cnas.curricula import Uncertainty

CHUNKS, EPOCHS = 7, 2


def forwards(trainer):
    """(the state before, the state after) of every training step, as they are recorded while it trains."""
    seen = []

    def record(module, args, output):
        if module.training and torch.is_grad_enabled():
            seen.append((args[0].hidden_state, output.hidden_state))

    trainer.parts.supernet.register_forward_hook(record)
    return seen


def test_each_chunk_starts_where_the_one_before_it_ended(tmp_path):
    trainer = build_trainer(build_session(tmp_path), Uncertainty(num_candidates=2), num_train_epochs=EPOCHS)
    seen = forwards(trainer)
    trainer.run()
    assert len(seen) == CHUNKS * EPOCHS
    assert len(trainer.batches) == CHUNKS
    assert trainer.batches.length == LENGTH
    for index, (before, _) in enumerate(seen):
        if index % CHUNKS == 0:
            assert before is None
        else:
            assert torch.equal(before, seen[index - 1][1])
            assert not before.requires_grad
            assert seen[index - 1][1].requires_grad
