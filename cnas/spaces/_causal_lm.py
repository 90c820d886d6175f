"""A recurrent language model around any cell, as a transformers model.

This file imports torch, transformers and its sibling alone, because it belongs beside weights that must load where
`cnas` is missing.

Legend: B sequences, T tokens, H hidden units, V words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers import initialization as init
from transformers.generation import GenerationMixin
from transformers.utils.generic import ModelOutput

from ._language_model import LanguageModelShell, LanguageModelSizes, Masks


@strict
class LanguageModelConfig(PreTrainedConfig):
    """What the configuration of every recurrent language model holds: the fields of `LanguageModelSizes`.

    A subclass adds ``model_type`` and the fields of its cell.
    """

    vocab_size: int = 10000
    hidden_size: int = 800
    num_hidden_layers: int = 1
    dropout_words: float = 0.0
    dropout_embedding: float = 0.0
    dropout_input: float = 0.0
    dropout_hidden: float = 0.0
    dropout_output: float = 0.0
    activation_penalty: float = 0.0
    slowness: float = 0.0
    init_range: float = 0.04
    decoder_bias: bool = False
    tie_word_embeddings: bool = True
    use_cache: bool = True
    bos_token_id: int | None = None
    eos_token_id: int | None = None
    pad_token_id: int | None = None

    def sizes(self) -> LanguageModelSizes:
        """The part that the shell reads."""
        return LanguageModelSizes(**{name: getattr(self, name) for name in LanguageModelSizes.__dataclass_fields__})


@dataclass
class LanguageModelOutput(ModelOutput):
    """Logits [B, T, V], the shifted cross-entropy where labels were given, and the state [B, H] for the next call."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    cache: Tensor | None = None


class RecurrentLanguageModel(PreTrainedModel, GenerationMixin):
    """A word-level recurrent language model with tied embedding and decoder.

    A subclass sets ``config_class`` and hands its cell to the constructor. `forward` is the transformers face (labels
    are shifted inside); `run` is the trainer's (labels are next tokens).

    Args:
        config: sizes and regularisers.
        cell: a module whose ``forward(inputs_BTH, state_BH, hidden_mask)`` gives (outputs [B, T, H], state [B, H]);
            its parameters start uniform in ±``config.init_range``, biases at 0.
    """

    config_class = LanguageModelConfig
    base_model_prefix = "model"
    main_input_name = "input_ids"
    _is_stateful = True
    _tied_weights_keys = {"shell.decoder.weight": "shell.embedding.weight"}  # noqa: RUF012 - transformers' own form

    def __init__(self, config: LanguageModelConfig, cell: nn.Module) -> None:
        super().__init__(config)
        self.shell = LanguageModelShell(config.sizes())
        self.cell = cell
        self.post_init()

    @classmethod
    def _supports_default_dynamic_cache(cls) -> bool:
        return False

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        for name, parameter in module.named_parameters(recurse=False):
            if name == "bias":
                init.zeros_(parameter)
            else:
                init.uniform_(parameter, -self.config.init_range, self.config.init_range)

    def get_input_embeddings(self) -> nn.Module:
        """The embedding."""
        return self.shell.embedding

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Replace the embedding."""
        self.shell.embedding = value

    def get_output_embeddings(self) -> nn.Module:
        """The decoder."""
        return self.shell.decoder

    def set_output_embeddings(self, new_embeddings: nn.Linear) -> None:
        """Replace the decoder."""
        self.shell.decoder = new_embeddings

    @property
    def outcomes(self) -> int:
        """Words one is predicted of."""
        return int(self.config.vocab_size)

    def zero_carry(self, rows: int) -> Tensor:
        """The state before the first word, zeros [rows, H]."""
        return self.shell.embedding.weight.new_zeros(rows, self.config.hidden_size)

    def run(
        self, inputs_BT: Tensor, labels_BT: Tensor, carry: Tensor | None = None, noise: Any | None = None
    ) -> tuple[Tensor, None, Tensor, Tensor]:
        """Per-token losses float32 [B, T] for labels that are next tokens; fields as in `cnas.types.Output`.

        Logits are never held for all tokens at once; `forward` gives them.
        """
        masks = self.shell.masks(len(inputs_BT), noise)
        raw_BTH, carry = self._outputs(inputs_BT, carry, masks)
        losses, penalty = self.shell.losses(raw_BTH, labels_BT, masks)
        return losses, None, carry, penalty

    def _outputs(self, inputs_BT: Tensor, carry: Tensor | None, masks: Masks) -> tuple[Tensor, Tensor]:
        carry = self.zero_carry(len(inputs_BT)) if carry is None else carry
        raw_BTH, carry = self.cell(self.shell.embed(inputs_BT, masks), carry, masks.hidden)
        return raw_BTH, carry

    def _padded_outputs(
        self, inputs_BT: Tensor, carry: Tensor | None, masks: Masks, real_BT: Tensor
    ) -> tuple[Tensor, Tensor]:
        """`_outputs`, word by word, where padding leaves the state as it was."""
        carry = self.zero_carry(len(inputs_BT)) if carry is None else carry
        outputs = []
        for word_B1H, real_B1 in zip(self.shell.embed(inputs_BT, masks).split(1, 1), real_BT.split(1, 1), strict=True):
            output_B1H, after = self.cell(word_B1H, carry, masks.hidden)
            carry = torch.where(real_B1, after, carry)
            outputs.append(output_B1H)
        return torch.cat(outputs, dim=1), carry

    def forward(
        self,
        input_ids: Tensor,
        labels: Tensor | None = None,
        cache: Tensor | None = None,
        use_cache: bool | None = None,
        attention_mask: Tensor | None = None,
        **kwargs: Any,  # noqa: ARG002 - what `transformers` passes to every model
    ) -> LanguageModelOutput:
        """Logits for every token; ``labels`` are ``input_ids`` themselves and are shifted here.

        Words where ``attention_mask`` is 0 are padding. It may be longer than ``input_ids``: its end counts.
        """
        masks = self.shell.masks(len(input_ids), None)
        real_BT = None if attention_mask is None else attention_mask[:, -input_ids.shape[1] :].bool()
        if real_BT is None or bool(real_BT.all()):
            raw_BTH, state = self._outputs(input_ids, cache, masks)
        else:
            raw_BTH, state = self._padded_outputs(input_ids, cache, masks, real_BT)
        dropped = raw_BTH if masks.output is None else raw_BTH * masks.output
        logits = self.shell.decoder(dropped)
        loss = None
        if labels is not None:
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=self.config.vocab_size)
        keep = self.config.use_cache if use_cache is None else use_cache
        # `generate` asks the cache this on devices where it decides one step late whether to stop.
        state.is_croppable = False  # type: ignore[attr-defined]
        return LanguageModelOutput(loss=loss, logits=logits, cache=state if keep else None)

    def prepare_inputs_for_generation(
        self,
        input_ids: Tensor,
        cache: Tensor | None = None,
        use_cache: bool | None = None,
        attention_mask: Tensor | None = None,
        **kwargs: Any,  # noqa: ARG002 - under this name `generate` also accepts what `forward` takes
    ) -> dict[str, Any]:
        """Only the last word is run once there is a state."""
        return {
            "attention_mask": attention_mask,
            "input_ids": input_ids if cache is None else input_ids[:, -1:],
            "cache": cache,
            "use_cache": use_cache,
        }

    def _reorder_cache(self, cache: Tensor, beam_idx: Tensor) -> Tensor:
        """The states of the beams that go on; beam search calls this."""
        return cache.index_select(0, beam_idx)
