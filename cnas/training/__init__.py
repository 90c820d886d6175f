"""Training: one loop on Accelerate, the curriculum search and the retraining built on it."""

from cnas.training.context import RunContext
from cnas.training.loop import AccelerateLoop
from cnas.training.loop_config import LoopConfig
from cnas.training.process_options import ProcessOptions
from cnas.training.retrain import RetrainConfig, Retrainer
from cnas.training.trainer import CurriculumTrainer, SearchParts, TrainerConfig

__all__ = [
    "AccelerateLoop",
    "CurriculumTrainer",
    "LoopConfig",
    "ProcessOptions",
    "RetrainConfig",
    "Retrainer",
    "RunContext",
    "SearchParts",
    "TrainerConfig",
]
