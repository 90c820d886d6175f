"""Training: one loop on Accelerate, the curriculum search and the retraining built on it."""

from cnas.training.arguments import LoopArguments, RetrainArguments, SearchArguments
from cnas.training.context import RunContext
from cnas.training.loop import AccelerateLoop
from cnas.training.retrain import Retrainer
from cnas.training.search import SearchLoop
from cnas.training.search_parts import SearchParts

__all__ = [
    "AccelerateLoop",
    "LoopArguments",
    "RetrainArguments",
    "Retrainer",
    "RunContext",
    "SearchArguments",
    "SearchLoop",
    "SearchParts",
]
