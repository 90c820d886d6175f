"""Recurrent language models as pure functions: one time step of a path, the loop over a chunk, and the model around it.

    [c, u] = [x, h]·W_0      s_0 = h   + sigmoid(c)·(tanh(u) - h)
    [c, u] = s_j·W_i         s_i = s_j + sigmoid(c)·(f_i(u)  - s_j)      h' = mean of some s_i

j and f_i are numbers in tensors, so that one recorded step serves every path, or plain integers where a network has one
cell for good. What a space has of its own is in its folder's ``plain.py``. These functions define the cells; whatever
is faster is tested against them.

Legend: B rows, T tokens, H hidden units, G = 2H, N nodes after node 0, K paths at once, V words, D dtype of products.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from cnas.spaces._causal_lm import RecurrentLanguageModel
from cnas.spaces._cross_entropy import cross_entropy_at_once
from cnas.spaces._gated_cell import ACTIVATIONS
from cnas.spaces._language_model import NEVER, LanguageModelSizes, Masks, apply_input_masks, apply_mask, regularisers
from cnas.spaces.pure import Compile, PureForward
from cnas.types import Batch, Output

MULTIPLE = 8
"""Tensor cores take rows whose length is a multiple of this."""
FUNCTIONS = tuple(ACTIVATIONS.values())
Values = Mapping[str, Tensor]
Cell = Callable[[Tensor, Values, Compile, torch.dtype], Tensor]
"""From projected inputs [T, B, G] and the tensors of a `PureForward` the outputs [T, B, H], or [T, K, B, H]."""


def chosen(options: Sequence[Tensor], number: Tensor | int) -> Tensor:
    """``options[number]``, the number in a tensor or not."""
    if isinstance(number, int):
        return options[number]
    found = options[0]
    for index in range(1, len(options)):
        found = torch.where(number == index, options[index], found)
    return found


def activated(update: Tensor, number: Tensor | int) -> Tensor:
    """The activation of that number, the number in a tensor or not."""
    if isinstance(number, int):
        return FUNCTIONS[number](update)
    return chosen([function(update) for function in FUNCTIONS], number)


class CellMatrices(NamedTuple):
    """The matrices of a cell, in the dtype of products; each space says how they lie."""

    first: Tensor
    """The part of W_0 that reads the state."""
    others: Any
    """W_i of the nodes after node 0."""


class Path(NamedTuple):
    """One path, or K of them, in numbers."""

    sources: Any
    """Per node, j: an integer, a scalar tensor, or one [K, 1, 1]."""
    activations: Any
    """Per node the number of its activation, likewise."""
    scales: Any
    """[N], what the nodes are multiplied by, for their gradients; None where that is 1."""
    idle: Any
    """[N], what is added to the nodes, for its gradients; None where nothing is."""
    concat: tuple[int, ...]
    """The nodes whose mean is the next state."""


def path_step(projected: Tensor, state: Tensor, mask: Tensor | None, matrices: CellMatrices, path: Path) -> Tensor:
    """One time step of one path, or of K at once: the next state [B, H], or [K, B, H].

    Args:
        projected: the input times its part of W_0, [B, G].
        state: h.
        mask: [B, H], what every node's input is multiplied by; None where there is no dropout.
        matrices: [H, G] each, or [K, H, G] of the nodes after node 0.
        path: what is run.
    """
    states: list[Tensor] = []
    for node in range(len(matrices.others) + 1):
        previous = chosen(states, path.sources[node - 1]) if node else state
        dropped = apply_mask(previous, mask).to(matrices.first.dtype)
        product = (dropped @ (matrices.others[node - 1] if node else matrices.first)).to(state.dtype)
        gates, update = (product if node else product + projected).chunk(2, -1)
        update = activated(update, path.activations[node - 1] if node else 0)
        value = previous + torch.sigmoid(gates) * (update - previous)
        if node and path.scales is not None:
            value = value * path.scales[node - 1]
        if node and path.idle is not None:
            value = value + path.idle[node - 1]
        states.append(value)
    return mean_of(states, path.concat)


def first_state(values: Values) -> Tensor:
    """The state before a chunk; it requires a gradient, as all later ones do: one compiled step serves all."""
    return values["state"].detach().requires_grad_(torch.is_grad_enabled())


def mean_of(states: Sequence[Tensor], concat: tuple[int, ...]) -> Tensor:
    """The mean of the nodes ``concat``."""
    return sum((states[node] for node in concat[1:]), states[concat[0]]) / len(concat)


@dataclass(frozen=True)
class PathCell:
    """A path, or K of them, over a chunk.

    Args:
        nodes: N.
        concat: the nodes whose mean is output and next state.
        fixed: (source, activation) of every node where they are the same for good; None where tensors say it.
        paths: K, where each of them has matrices of its own, ``matrix3.0`` and so on.
    """

    nodes: int
    concat: tuple[int, ...]
    fixed: tuple[tuple[int, int], ...] | None = None
    paths: int | None = None

    def __call__(self, projected_TBG: Tensor, values: Values, compiled: Compile, dtype: torch.dtype) -> Tensor:
        """The outputs [T, B, H] or [T, K, B, H]."""
        step = compiled(path_step)
        matrices = tuple(self._matrix(f"matrix{node}", values).to(dtype) for node in range(self.nodes))
        scales, idle = (values[name].unbind() if name in values else None for name in ("scales", "idle"))
        if self.fixed is None:
            numbers: Any = values["sources"].unbind(), values["activations"].unbind()
        else:
            numbers = tuple(zip(*self.fixed, strict=True))
        path = Path(numbers[0], numbers[1], scales, idle, self.concat)
        every, state, outputs = CellMatrices(values["recurrent_matrix"].to(dtype), matrices), first_state(values), []
        for projected_BG in projected_TBG.unbind():
            state = step(projected_BG, state, values.get("mask.hidden"), every, path)
            outputs.append(state)
        return torch.stack(outputs)

    def _matrix(self, name: str, values: Values) -> Tensor:
        """W_i, [H, G] or [K, H, G]."""
        if self.paths is None:
            return values[name]
        return torch.stack([values[f"{name}.{path}"] for path in range(self.paths)])


def language_model(values: Values, compiled: Compile, dtype: torch.dtype | None, *, cell: Cell, model: Model) -> Output:
    """Losses [B, T] (of K paths [K, B, T]), the next state and the regularisers of a recurrent language model.

    Args:
        values: the tensors of a `PureForward`.
        compiled: see there.
        dtype: see there.
        cell: what runs between embedding and decoder.
        model: what it is built as.
    """
    if dtype is not None:
        values = widened(values, -model.sizes.hidden_size % MULTIPLE)
    masks = Masks(*(values.get(f"mask.{name}") for name in Masks._fields))
    embedding_VH, labels_BT, exact = values["embedding"], values["labels"], values["state"].dtype
    dtype = exact if dtype is None else dtype
    embedded_BTH = apply_input_masks(F.embedding(values["inputs"], embedding_VH), values["inputs"], masks)
    projected_TBG = (embedded_BTH.transpose(0, 1).to(dtype) @ values["input_matrix"].to(dtype)).to(exact)
    raw = cell(projected_TBG, values, compiled, dtype)
    decoder_VH, bias_V = embedding_VH.to(dtype), values.get("bias")
    labels_TB, width = labels_BT.t().contiguous(), model.sizes.hidden_size
    if raw.dim() == 4:
        # One candidate at a time: the logits of all would be the largest thing in memory.
        every = [_losses(raw_TBH, labels_TB, decoder_VH, bias_V, model) for raw_TBH in raw.unbind(1)]
        return Output(torch.stack(every).transpose(1, 2), None, raw[-1, ..., :width], raw.new_zeros(()))
    mask_BH = None if masks.output is None else masks.output[:, 0]
    dropped_TBH = apply_mask(raw, mask_BH)
    losses_TB = _losses(dropped_TBH, labels_TB, decoder_VH, bias_V, model)
    penalty = raw.new_zeros(())
    if model.training:
        both = (each[..., :width].transpose(0, 1) for each in (raw, dropped_TBH))
        penalty = regularisers(model.sizes, *both)
    return Output(losses_TB.t(), None, raw[-1, ..., :width], penalty)


def widened(values: Values, more: int) -> Values:
    """The same model with ``more`` hidden units that nothing reads: products of fewer digits want even widths."""
    if not more:
        return values

    def wider(name: str, value: Tensor) -> Tensor:
        if "matrix" in name:  # [H, 2H]
            return F.pad(value.unflatten(1, (2, -1)), (0, more, 0, 0, 0, more)).flatten(1)
        wide = name in {"embedding", "state"} or (name.startswith("mask.") and name != "mask.words")
        return F.pad(value, (0, more)) if wide else value

    return {name: wider(name, value) for name, value in values.items()}


@dataclass(frozen=True)
class Model:
    """What a language model is built as, beside its cell.

    Args:
        sizes: widths and regularisers.
        training: whether there are regularisers.
        pad_row: the row of the embedding that is no word; None where there is none.
    """

    sizes: LanguageModelSizes
    training: bool
    pad_row: int | None = None


def _losses(dropped_TBH: Tensor, labels_TB: Tensor, decoder_VH: Tensor, bias_V: Tensor | None, model: Model) -> Tensor:
    hidden_NH, labels_N, exact = dropped_TBH.flatten(0, 1).to(decoder_VH.dtype), labels_TB.flatten(), dropped_TBH.dtype
    if model.pad_row is None or model.pad_row >= len(decoder_VH):
        return cross_entropy_at_once(hidden_NH, decoder_VH, bias_V, labels_N, exact).view(labels_TB.shape)
    logits = (hidden_NH @ decoder_VH.t()).to(exact)
    logits = logits if bias_V is None else logits + bias_V
    logits[..., model.pad_row] = logits.detach().amin(-1) - NEVER
    return F.cross_entropy(logits, labels_N, reduction="none").view(labels_TB.shape)


def shell_weights(bias: bool) -> dict[str, str]:
    """The weights that every recurrent language model has, by the names of `language_model`."""
    return {"embedding": "shell.embedding.weight"} | ({"bias": "shell.decoder.bias"} if bias else {})


def shell_tensors(masks: Masks, inputs: Tensor, labels: Tensor, state: Tensor) -> dict[str, Tensor]:
    """The tensors that every recurrent language model reads, by the names of `language_model`."""
    given = {f"mask.{name}": mask for name, mask in masks._asdict().items() if mask is not None}
    return {"inputs": inputs, "labels": labels, "state": state, **given}


def recurrent_forward(network: Any, batch: Batch) -> PureForward | None:
    """The pure forward of a derived recurrent network; None of any other.

    Args:
        network: a stand-alone network.
        batch: with its hidden state and dropout seeds.
    """
    if not isinstance(network, RecurrentLanguageModel):
        return None
    cell: Any = network.cell
    numbers = {name: number for number, name in enumerate(ACTIVATIONS)}
    fixed = tuple((source, numbers[name]) for source, name in cell.nodes)
    concat = cell.concat or tuple(range(1, len(fixed) + 1))
    path = PathCell(len(fixed), tuple(concat), fixed=fixed)
    model = Model(network.shell.sizes, network.training, network.config.pad_row)
    state = batch.hidden_state
    if state is None:
        state = cell.input_matrix.new_zeros(len(batch.inputs), model.sizes.hidden_size)
    masks = network.shell.host_masks(len(batch.inputs), batch.dropout_seeds)
    names = ["input_matrix", "recurrent_matrix", *(f"matrices.{node}" for node in range(len(fixed)))]
    own = {name.replace("matrices.", "matrix"): f"cell.{name}" for name in names}
    return PureForward(
        key=(path, model),
        function=partial(language_model, cell=path, model=model),
        tensors=shell_tensors(masks, batch.inputs, batch.labels, state),
        weights=shell_weights(network.shell.decoder.bias is not None) | own,
    )
