"""A recurrent language model around any cell, as a transformers model.

This file imports torch, transformers and its sibling alone, because it belongs beside weights that must load where
`cnas` is missing.

Legend: B sequences, T tokens, H hidden units, V words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers import initialization as init
from transformers.generation import GenerationMixin
from transformers.utils.generic import ModelOutput, can_return_tuple

from ._gated_cell import GatedCell, plain_nodes
from ._language_model import LanguageModelShell, LanguageModelSizes, Penalised, apply_mask

UNREAD = ("inputs_embeds", "past_key_values", "position_ids", "token_type_ids", "output_attentions")
"""What other models take and this one would have to leave unread."""

MAX_WORDS = 50
"""Words that `generate` draws where nobody says how many; without it `transformers` warns at every call."""


@strict
class LanguageModelConfig(PreTrainedConfig):
    """Configuration of every recurrent language model: the fields of `LanguageModelSizes` and those of `transformers`.

    ``sources`` says for each node which earlier node it reads (0 is the input node), ``activations`` is ``tanh``,
    ``relu``, ``sigmoid`` or ``identity`` for each; a subclass adds ``model_type``. ``pad_row`` is the row of the
    embedding that fills up batches and is no word: it is never read, never counted and never answered; None where there
    is none.
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
    penalised_output: Penalised = "dropped"  # what it always was where a folder does not say it
    tar: float = 0.0
    init_range: float = 0.04
    decoder_bias: bool = False
    tie_word_embeddings: bool = True
    use_cache: bool = True
    bos_token_id: int | None = None
    eos_token_id: int | None = None
    pad_token_id: int | None = None
    pad_row: int | None = None
    sources: list[int] | None = None
    activations: list[str] | None = None

    attribute_map: ClassVar[dict[str, str]] = {"slowness": "tar"}  # what folders of 0.1.0 call it

    def nodes(self) -> list[tuple[int, str]]:
        """(source, activation) of every node; one tanh node reading the input where none are given."""
        return plain_nodes(self.sources or [0], self.activations or ["tanh"])

    def outputs(self) -> list[int] | None:
        """The nodes whose mean is the output; None means all after the input node."""
        return None

    def sizes(self) -> LanguageModelSizes:
        """These fields as a `LanguageModelSizes`, which the shell is built from."""
        return LanguageModelSizes(**{name: getattr(self, name) for name in LanguageModelSizes.__dataclass_fields__})


@dataclass
class LanguageModelOutput(ModelOutput):
    """Logits [B, T, V], the shifted cross-entropy where labels were given, and the state [B, H] for the next call.

    ``hidden_states``, where they were asked for, are what enters the cell and what it gives, both [B, T, H].
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    cache: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None


class RecurrentLanguageModel(PreTrainedModel, GenerationMixin):
    """A word-level recurrent language model with tied embedding and decoder.

    A subclass sets ``config_class``. `forward` is the transformers face (labels are shifted inside); `run` is the
    trainer's (labels are next tokens).

    Args:
        config: sizes, regularisers and the cell; weights start uniform in ±``config.init_range``, biases at 0.
    """

    config_class = LanguageModelConfig
    base_model_prefix = "model"
    main_input_name = "input_ids"
    _is_stateful = True
    _tied_weights_keys = {"shell.decoder.weight": "shell.embedding.weight"}  # noqa: RUF012 - transformers' own form

    def __init__(self, config: LanguageModelConfig) -> None:
        super().__init__(config)
        self.shell = LanguageModelShell(config.sizes())
        self.cell = GatedCell(config.hidden_size, config.nodes(), config.outputs())
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
        """The word embedding."""
        return self.shell.embedding

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Replace the word embedding."""
        self.shell.embedding = value

    def get_output_embeddings(self) -> nn.Module:
        """The decoder."""
        return self.shell.decoder

    def set_output_embeddings(self, new_embeddings: nn.Linear) -> None:
        """Replace the decoder."""
        self.shell.decoder = new_embeddings

    @property
    def outcomes(self) -> int:
        """How many words a prediction chooses from."""
        return int(self.config.vocab_size)

    def run(
        self, inputs_BT: Tensor, labels_BT: Tensor, hidden_state: Tensor | None = None, dropout_seeds: Any | None = None
    ) -> tuple[Tensor, None, Tensor, Tensor]:
        """Per-token losses float32 [B, T] for labels that are next tokens; fields as in `cnas.types.Output`.

        Logits are never held for all tokens at once; `forward` gives them.
        """
        masks = self.shell.masks(len(inputs_BT), dropout_seeds)
        raw_BTH, hidden_state = self.cell(self.shell.embed(inputs_BT, masks), hidden_state, masks.hidden)
        losses, penalty = self.shell.losses(raw_BTH, labels_BT, masks, self.config.pad_row)
        return losses, None, hidden_state, penalty

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor,
        labels: Tensor | None = None,
        cache: Tensor | None = None,
        use_cache: bool | None = None,
        attention_mask: Tensor | None = None,
        output_hidden_states: bool | None = None,
        **kwargs: Any,
    ) -> LanguageModelOutput:
        """Logits for every token; ``labels`` are ``input_ids`` themselves and are shifted here.

        Words where ``attention_mask`` is 0 are padding, and so is ``config.pad_row``: the state stays as it was, and no
        label counts there nor right behind. The mask may be longer than ``input_ids``: its end counts.
        ``num_items_in_batch`` divides the sum of the losses in place of their number.

        Raises:
            ValueError: an argument was given that a recurrent network has no use for; or the mask does not fit.
        """
        _refuse(kwargs)
        real_BT = self._real(input_ids, attention_mask)
        masks = self.shell.masks(len(input_ids), None)
        embedded_BTH = self.shell.embed(input_ids, masks)
        raw_BTH, state = self.cell(embedded_BTH, cache, masks.hidden, real_BT)
        logits = self.shell.decode(apply_mask(raw_BTH, masks.output), self.config.pad_row)
        loss = None
        if labels is not None:
            labels = labels if real_BT is None else _counted(labels, real_BT)
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=logits.shape[-1], **kwargs)
        keep = self.config.use_cache if use_cache is None else use_cache
        wanted = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        # `generate` asks the cache this on devices where it decides one step late whether to stop.
        state.is_croppable = False
        return LanguageModelOutput(
            loss=loss,
            logits=logits,
            cache=state if keep else None,
            hidden_states=(embedded_BTH, raw_BTH) if wanted else None,
        )

    def _real(self, inputs_BT: Tensor, attention_mask: Tensor | None) -> Tensor | None:
        """True on words, False on padding, or None where nothing is known to be padding."""
        real_BT = None
        if attention_mask is not None:
            rows, length = inputs_BT.shape
            if attention_mask.ndim != 2 or len(attention_mask) != rows or attention_mask.shape[1] < length:
                raise ValueError(
                    f"attention_mask must be [{rows}, {length}] or longer, got {list(attention_mask.shape)}"
                )
            real_BT = attention_mask[:, -length:].bool()
        if self.config.pad_row is None:
            return real_BT
        word_BT = inputs_BT != self.config.pad_row
        return word_BT if real_BT is None else real_BT & word_BT

    def generate(
        self, inputs: Tensor | None = None, generation_config: Any | None = None, *others: Any, **options: Any
    ) -> Any:
        """Generate as every model of `transformers` does; where no length is given, at most 50 words."""
        given = generation_config or self.generation_config
        lengths = ("max_length", "max_new_tokens")
        # Not in the stored defaults: `transformers` would let a `max_new_tokens` there win over a `max_length` here.
        if all(options.get(name) is None and getattr(given, name, None) is None for name in lengths):
            options["max_new_tokens"] = MAX_WORDS
        return super().generate(inputs, generation_config, *others, **options)

    def prepare_inputs_for_generation(
        self,
        input_ids: Tensor,
        cache: Tensor | None = None,
        use_cache: bool | None = None,
        attention_mask: Tensor | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """The arguments of the next `forward`; once there is a state, of the last word alone."""
        return {
            **{name: kwargs.get(name) for name in ("output_hidden_states", *UNREAD)},
            "attention_mask": attention_mask,
            "input_ids": input_ids if cache is None else input_ids[:, -1:],
            "cache": cache,
            "use_cache": use_cache,
        }

    def _reorder_cache(self, cache: Tensor, beam_idx: Tensor) -> Tensor:
        """Select the states of the beams that continue; beam search calls this."""
        return cache.index_select(0, beam_idx)


def _refuse(given: dict[str, Any]) -> None:
    for name in UNREAD:
        if given.get(name) is not None and given[name] is not False:
            raise ValueError(f"{name} must be left out: a recurrent network has no use for it")


def _counted(labels_BT: Tensor, real_BT: Tensor) -> Tensor:
    """Labels, set to -100 on padding and right after it, where nothing is predicted from a word."""
    counted_BT = real_BT.clone()
    counted_BT[:, 1:] &= real_BT[:, :-1]
    return labels_BT.masked_fill(~counted_BT, -100)
