"""The optimisers of the weights, and the learning rate they take from step to step."""

from __future__ import annotations

import ast
import difflib
import inspect
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, optim
from torch.optim.optimizer import _get_capturable_supported_devices

from cnas.errors import UserError

if TYPE_CHECKING:
    from cnas.training.arguments import LoopArguments

NAMES = {"sgd": "SGD", "adamw": "AdamW"}
"""Optimisers that have a name of their own; all others are called like their class."""
UNFIT = ("Optimizer", "LBFGS", "SparseAdam")
"""The base of all, and those that need another kind of step: one that asks for the loss again, sparse gradients."""
CLASSES: dict[str, type[optim.Optimizer]] = {
    name: kind
    for name, kind in vars(optim).items()
    if isinstance(kind, type) and issubclass(kind, optim.Optimizer) and name not in UNFIT
}
PREFIX = "torch.optim."
WORDS = {"true": True, "false": False, "none": None}


def optimizer_name(kind: Any) -> Any:
    """What `LoopArguments.optim` calls an optimiser: ``sgd``, ``adamw`` or ``torch.optim.NAME``.

    Args:
        kind: a name, or a class of `torch.optim`; anything else is returned as it is, or by its name.

    Example:
        >>> optimizer_name(torch.optim.AdamW), optimizer_name("NAdam")
        ('adamw', 'torch.optim.NAdam')
    """
    if isinstance(kind, type):
        named = kind.__qualname__ if kind in CLASSES.values() else f"{kind.__module__}.{kind.__qualname__}"
        return optimizer_name(named)
    if not isinstance(kind, str):
        return kind
    bare = kind.removeprefix(PREFIX)
    own = {name: short for short, name in NAMES.items()}
    return own.get(bare, PREFIX + bare if bare in CLASSES else kind)


def optimizer_class(name: str) -> type[optim.Optimizer]:
    """The class that `optimizer_name` has named.

    Raises:
        UserError: there is none of that name; with the nearest one.
    """
    options = {short: CLASSES[full] for short, full in NAMES.items()}
    options |= {PREFIX + full: kind for full, kind in CLASSES.items() if full not in NAMES.values()}
    if name not in options:
        # By the last part, in which names differ.
        folded = {option.removeprefix(PREFIX).lower(): option for option in options}
        close = difflib.get_close_matches(name.rpartition(".")[2].lower(), folded, n=1)
        hint = f"did you mean {folded[close[0]]}?" if close else f"allowed: {', '.join(options)}"
        raise UserError(f"optim must be sgd, adamw or a class of torch.optim, got {name!r:.80}: {hint}")
    return options[name]


def arguments_text(given: Any) -> Any:
    """Arguments of an optimiser as ``name=value,…``.

    Args:
        given: such a text, a mapping, or None for none; anything else is returned as it is.

    Example:
        >>> arguments_text({"amsgrad": True, "betas": (0.5, 0.9)})
        'amsgrad=True,betas=(0.5, 0.9)'
    """
    if not isinstance(given, Mapping):
        return given or None
    return ",".join(f"{name}={value!r}" for name, value in given.items()) or None


def parsed_arguments(text: str | None) -> dict[str, Any]:
    """The arguments in ``name=value,…``.

    Raises:
        UserError: it is no such text.

    Example:
        >>> parsed_arguments("amsgrad=true,betas=(0.5, 0.9)")
        {'amsgrad': True, 'betas': (0.5, 0.9)}
    """
    try:
        match ast.parse(f"f({text or ''})", mode="eval").body:
            case ast.Call(func=ast.Name(), args=[], keywords=pairs) if all(pair.arg for pair in pairs):
                return {str(pair.arg): _value(pair.value) for pair in pairs}
    except (SyntaxError, ValueError):
        pass
    raise UserError(f"optim_args must be name=value pairs with commas between, got {text!r:.80}")


def _value(node: ast.expr) -> Any:
    """A value as Python writes it, or as other programs write yes, no and nothing."""
    word = node.id.lower() if isinstance(node, ast.Name) else ""
    return WORDS[word] if word in WORDS else ast.literal_eval(node)


def make_optimizer(parameters: Iterable[Tensor], config: LoopArguments) -> optim.Optimizer:
    """The optimiser that the arguments of a loop name.

    Args:
        parameters: the weights.
        config: name, learning rate, decay and so on; what an optimiser does not have is not used.

    Raises:
        UserError: ``optim_args`` are no arguments of it.
    """
    kind, weights, own = optimizer_class(config.optim), list(parameters), parsed_arguments(config.optim_args)
    known = inspect.signature(kind).parameters
    fields = _fields(config, known)
    for name in own:
        _check_argument(name, config.optim, [*known], fields)
    chosen = {name: value for name, (_, value) in fields.items()}
    if "capturable" in known:
        chosen["capturable"] = _counts_elsewhere(weights)
    try:
        return kind(_groups(weights, config), **chosen | own)
    except (TypeError, ValueError) as problem:
        raise UserError(f"optim {config.optim} cannot be made: {' '.join(str(problem).split())}") from problem


def _counts_elsewhere(weights: Iterable[Tensor]) -> bool:
    """Whether steps are counted on the device: in host memory, taking a step back would have to wait for it."""
    known = _get_capturable_supported_devices()
    return any(weight.device.type in known for weight in weights)


def load_optimizer(optimizer: Any, state: Mapping[str, Any]) -> None:
    """Give an optimiser the state of another one, perhaps of weights on another kind of device.

    Args:
        optimizer: as `make_optimizer` made it, or what an accelerator made of that.
        state: of the other one, its ``state_dict``.
    """
    # Where steps are counted belongs to the device, not to what was learned.
    pairs = zip(state["param_groups"], optimizer.param_groups, strict=True)
    groups = [saved | ({"capturable": own["capturable"]} if "capturable" in own else {}) for saved, own in pairs]
    optimizer.load_state_dict({**state, "param_groups": groups})


def _groups(weights: list[Tensor], config: LoopArguments) -> Any:
    """The weights, those that do not decay in a group of their own."""
    if config.weight_decay_on == "all":
        return weights
    matrices = [weight for weight in weights if weight.dim() > 1]
    others = [weight for weight in weights if weight.dim() <= 1]
    return [{"params": matrices}, *([{"params": others, "weight_decay": 0.0}] if others else [])]


def _fields(config: LoopArguments, known: Mapping[str, Any]) -> dict[str, tuple[str, Any]]:
    """The arguments that have a field of their own: (the field, the value), by the optimiser's name for it."""
    fields: dict[str, tuple[str, Any]] = {"lr": ("learning_rate", config.learning_rate)}
    if "weight_decay" in known:
        fields["weight_decay"] = ("weight_decay", config.weight_decay)
    if "nesterov" in known:
        fields |= {name: (name, getattr(config, name)) for name in ("momentum", "nesterov")}
    if {"betas", "eps"} <= {*known}:
        fields["betas"] = ("adam_beta1 and adam_beta2", (config.adam_beta1, config.adam_beta2))
        fields["eps"] = ("adam_epsilon", config.adam_epsilon)
    return fields


def _check_argument(name: str, kind: str, known: list[str], fields: Mapping[str, tuple[str, Any]]) -> None:
    """Raise a `UserError` for a name in ``optim_args`` that is none there."""
    if name in fields:
        raise UserError(f"optim_args must not hold {name}: use {fields[name][0]}")
    free = [each for each in known if each not in {*fields, "params"}]
    if name not in free:
        close = difflib.get_close_matches(name, free, n=1)
        hint = f"did you mean {close[0]}?" if close else f"allowed: {', '.join(free)}"
        raise UserError(f"optim_args: {name} is no argument of optim {kind}: {hint}")


def check_optimizer(config: LoopArguments) -> None:
    """Raise a `UserError` where the optimiser of a loop cannot be made, or would step at the rate of another one."""
    optimizer_class(config.optim)
    if config.optim != "sgd" and "learning_rate" not in (config.given or ()):
        raise UserError(f"learning_rate must be given with optim {config.optim}: {config.learning_rate:g} is for SGD")
    make_optimizer([torch.nn.Parameter(torch.zeros(1))], config)


def averaged_sgd(parameters: Iterable[Tensor], config: LoopArguments) -> optim.Optimizer:
    """Torch's averaged SGD, whose mean begins with its second step."""
    weights, rate, decay = list(parameters), config.learning_rate, config.weight_decay
    return optim.ASGD(weights, rate, lambd=0.0, t0=0.0, weight_decay=decay, capturable=_counts_elsewhere(weights))


def set_learning_rate(optimizer: Any, rate: float) -> None:
    """Let ``optimizer`` take its next step at ``rate``."""
    for group in optimizer.param_groups:
        if group["lr"] != rate:
            group["lr"] = rate
            # Torch's averaged SGD goes by a rate of its own, which it would take from the group a step late.
            for state in optimizer.state.values():
                if "eta" in state:
                    state["eta"].fill_(rate)
