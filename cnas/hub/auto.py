"""Makes the derived networks known to the Auto classes of `transformers`."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
from types import ModuleType
from typing import Any

from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForCausalLM,
    AutoModelForImageClassification,
    PreTrainedModel,
)
from transformers.image_processing_utils import BaseImageProcessor
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES,
)

import cnas.spaces

_HEADS = {
    "ForCausalLM": (AutoModelForCausalLM, MODEL_FOR_CAUSAL_LM_MAPPING_NAMES),
    "ForImageClassification": (AutoModelForImageClassification, MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES),
}
"""By the ending that `transformers` itself expects in the name of a model with such a head."""

BACKENDS = ("pil", "torchvision")
"""What `transformers` asks an image processor for; what ours are built on is their own affair."""


def register() -> None:
    """Register every derived network with `AutoConfig` and the Auto class of its head; calling it again is harmless.

    A network is found by its place: the `transformers.PreTrainedModel` subclasses of ``cnas/spaces/<name>/network.py``,
    each with its ``config_class``. An image processor of the same file is registered with `AutoImageProcessor` for
    them. A new space needs no entry here.

    Example:
        >>> from transformers import AutoConfig
        >>> register()
        >>> AutoConfig.for_model("cnas-rnn").model_type
        'cnas-rnn'
    """
    for module in _network_modules():
        for model in _own(module, PreTrainedModel):
            config = model.config_class
            AutoConfig.register(config.model_type, config, exist_ok=True)
            for auto, names in _heads(model):
                auto.register(config, model, exist_ok=True)
                # `pipeline` looks the name up in this table alone and logs an error for a model that is not in it.
                names.setdefault(config.model_type, model.__name__)
            for processor in _own(module, BaseImageProcessor):  # one, where images are read
                by_backend = dict.fromkeys(BACKENDS, processor)
                AutoImageProcessor.register(config, image_processor_classes=by_backend, exist_ok=True)


def image_processor(model: type[PreTrainedModel]) -> type[Any]:
    """The image processor that a network's file brings along.

    Example:
        >>> from cnas.spaces.nats.network import CnasNatsForImageClassification
        >>> image_processor(CnasNatsForImageClassification).__name__
        'CnasNatsImageProcessor'
    """
    (processor,) = _own(sys.modules[model.__module__], BaseImageProcessor)
    return processor


def auto_classes(kind: type[Any]) -> dict[str, type]:
    """Which class each Auto class has to load for something of ``kind``, by the name of the Auto class.

    Args:
        kind: a class of models, which brings its configuration, or of image processors; of all else, and of what
            `transformers` has itself, nothing needs to be loaded.

    Example:
        >>> from cnas.spaces.enas_rnn.network import CnasRnnForCausalLM
        >>> {auto: found.__name__ for auto, found in auto_classes(CnasRnnForCausalLM).items()}
        {'AutoConfig': 'CnasRnnConfig', 'AutoModelForCausalLM': 'CnasRnnForCausalLM'}
    """
    if kind.__module__.startswith("transformers."):
        return {}
    if issubclass(kind, PreTrainedModel):
        return {"AutoConfig": kind.config_class, **{auto.__name__: kind for auto, _ in _heads(kind)}}
    return {"AutoImageProcessor": kind} if issubclass(kind, BaseImageProcessor) else {}


def _heads(model: type[Any]) -> list[tuple[Any, Any]]:
    """The Auto class of a model's head, with the table that `pipeline` reads."""
    return [found for ending, found in _HEADS.items() if model.__name__.endswith(ending)]


def _network_modules() -> list[ModuleType]:
    names = [f"cnas.spaces.{info.name}" for info in pkgutil.iter_modules(cnas.spaces.__path__) if info.ispkg]
    found = [f"{name}.network" for name in names if importlib.util.find_spec(f"{name}.network") is not None]
    return [importlib.import_module(name) for name in found]


def _own(module: ModuleType, kind: type) -> list[Any]:
    """The subclasses of ``kind`` that a module defines."""
    return [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, kind) and value.__module__ == module.__name__
    ]
