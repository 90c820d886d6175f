"""Mixed precision and trackers of Accelerate."""

from dataclasses import replace

import pytest
import torch
from accelerate.utils import ProjectConfiguration
from builders import build_session, build_trainer, rows

from cnas.curricula import Uncertainty
from cnas.errors import UserError
from cnas.runs.config import RunConfig
from cnas.runs.devices import make_accelerator, set_float32_precision


def config(**options):
    smoke = RunConfig.from_preset("ptb_cl_enas/smoke")
    return replace(smoke, trainer=replace(smoke.trainer, **options))


def test_bfloat16_trains_with_float32_losses_and_weights(tmp_path):
    trainer = build_trainer(
        build_session(tmp_path, mixed_precision="bf16"), Uncertainty(num_candidates=2), num_train_epochs=4
    )
    original, dtypes = trainer.forward, set()

    def recorded(batch, routing):
        output = original(batch, routing)
        dtypes.update(value.dtype for value in (output.losses, output.penalty, output.hidden_state))
        return output

    trainer.forward = recorded
    kinds, product = set(), torch.mm

    def mm(inputs, weight, **out):
        kinds.add(inputs.dtype)
        return product(inputs, weight, **out)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "mm", mm)
        trainer.train()
    assert dtypes == {torch.float32}
    assert torch.bfloat16 in kinds
    assert {parameter.dtype for parameter in trainer.parts.supernet.parameters()} == {torch.float32}
    assert trainer.curriculum.v.dtype is torch.float32
    found = rows(tmp_path)
    assert found[-1]["train_loss"] < found[0]["train_loss"]
    assert found[-1]["weight_max"] > 1


def test_fp16_needs_an_accelerator(tmp_path):
    if torch.accelerator.is_available():
        assert make_accelerator(config(fp16=True), tmp_path).mixed_precision == "fp16"
        return
    with pytest.raises(UserError, match=r"mixed_precision must be no or bf16 on cpu, got 'fp16'"):
        make_accelerator(config(fp16=True), tmp_path)


def test_an_unknown_tracker_is_refused(tmp_path):
    with pytest.raises(UserError, match="report_to"):
        make_accelerator(config(report_to="abacus"), tmp_path)


def test_tensorboard_gets_every_number_of_every_row(tmp_path):
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    project = ProjectConfiguration(project_dir=str(tmp_path), logging_dir=str(tmp_path / "logs"))
    context = build_session(tmp_path, log_with="tensorboard", project_config=project)
    context.accelerator.init_trackers("cnas", config={"seed": 1})
    trainer = build_trainer(context, Uncertainty(num_candidates=2))
    trainer.train()
    context.accelerator.end_training()
    (file,) = (tmp_path / "logs" / "cnas").glob("events.out.*")
    events = event_accumulator.EventAccumulator(str(file))
    events.Reload()
    for row in rows(tmp_path):
        for key in ("train_loss", "valid_loss", "reward", "weight_max", "effective_sample_size"):
            (found,) = [event.value for event in events.Scalars(f"search/{key}") if event.step == row["step"]]
            assert found == pytest.approx(row[key], rel=1e-6)


def test_float32_is_float32_in_convolutions_too(tmp_path):
    """Torch rounds their factors by default, where the device can."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    try:
        torch.backends.cudnn.allow_tf32 = True
        make_accelerator(config(), tmp_path)
        assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == ("highest", False)
        set_float32_precision(tf32=True)
        assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == ("high", True)
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]
