"""Makes the derived networks known to the Auto classes of `transformers`."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from types import ModuleType

from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageClassification, PreTrainedModel
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


def register() -> None:
    """Register every derived network with `AutoConfig` and the Auto class of its head; calling it again is harmless.

    A network is found by its place: the `transformers.PreTrainedModel` subclasses of ``cnas/spaces/<name>/network.py``,
    each with its ``config_class``. A new space needs no entry here.

    Example:
        >>> from transformers import AutoConfig
        >>> register()
        >>> AutoConfig.for_model("cnas-rnn").model_type
        'cnas-rnn'
    """
    for module in _network_modules():
        for model in _own_models(module):
            _register(model)


def _network_modules() -> list[ModuleType]:
    names = [f"cnas.spaces.{info.name}" for info in pkgutil.iter_modules(cnas.spaces.__path__) if info.ispkg]
    found = [f"{name}.network" for name in names if importlib.util.find_spec(f"{name}.network") is not None]
    return [importlib.import_module(name) for name in found]


def _own_models(module: ModuleType) -> list[type[PreTrainedModel]]:
    return [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, PreTrainedModel) and value.__module__ == module.__name__
    ]


def _register(model: type[PreTrainedModel]) -> None:
    config = model.config_class
    AutoConfig.register(config.model_type, config, exist_ok=True)
    for ending, (auto_class, names) in _HEADS.items():
        if model.__name__.endswith(ending):
            auto_class.register(config, model, exist_ok=True)
            # `pipeline` looks the name up in this table alone and logs an error for a model that is not in it.
            names.setdefault(config.model_type, model.__name__)
