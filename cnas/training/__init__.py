"""Training: one loop on Accelerate, the curriculum search and the retraining built on it."""

from cnas.training.arguments import LoopConfig, RetrainConfig, TrainerConfig
from cnas.training.context import ProcessOptions, RunContext
from cnas.training.loop import AccelerateLoop
from cnas.training.retrain import Retrainer
from cnas.training.trainer import CurriculumTrainer, SearchParts

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
