"""How the tests fine-tune a network with the `transformers.Trainer`."""

from typing import Any

from transformers import TrainingArguments


def tuning(folder: Any, **options: Any) -> TrainingArguments:
    """Arguments of a short, quiet training that saves and reports nothing."""
    quiet = {"report_to": "none", "save_strategy": "no", "dataloader_pin_memory": False, "disable_tqdm": True}
    return TrainingArguments(folder, **quiet, **options)
