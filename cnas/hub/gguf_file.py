"""Writes the model of a run as one file for llama.cpp: weights, sizes and tokenizer, in the format GGUF."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoTokenizer

from cnas.durable import storage_errors, sync
from cnas.errors import UserError
from cnas.hub.model_folder import load_network
from cnas.runs.folder import RunFolder

PROBE = "Aa é é ﬁ x²"
"""What a normaliser that changes letters would change."""
NORMAL, CONTROL, USER_DEFINED = 1, 3, 4
"""Kinds of tokens, as the format numbers them."""


def write_gguf(run: Path | str, out: Path | str | None = None) -> Path:
    """Write the model of a run as a GGUF file in float32, which llama.cpp runs.

    Args:
        run: folder of a finished run, or a model folder.
        out: a file that is not there yet; None is ``model.gguf`` in ``run``.

    Returns:
        The path of the file.

    Raises:
        UserError: there is no model, llama.cpp does not know one of its kind or cuts text in another way, ``out`` is
            there already, or the package `gguf` is missing.
        StorageError: the disk refuses.
    """
    folder, out = Path(run), Path(out or Path(run) / "model.gguf")
    model = _llama(folder)
    if out.exists():
        raise UserError(f"{out} is there already, and nothing is overwritten; name another file")
    tokenizer = AutoTokenizer.from_pretrained(model, trust_remote_code=False)
    merges, network = _merges(tokenizer, folder), load_network(model)
    try:
        from gguf import MODEL_ARCH, GGUFWriter, get_tensor_name_map
    except ImportError as problem:
        raise UserError("cnas gguf needs the package gguf, which comes with pip install 'cnas[gguf]'") from problem
    stage = out.with_name(f".{out.name}.partial")
    writer = GGUFWriter(stage, "llama")
    writer.add_name(folder.resolve().name)
    _add_sizes(writer, network.config)
    _add_tokenizer(writer, tokenizer, merges)
    names = get_tensor_name_map(MODEL_ARCH.LLAMA, network.config.num_hidden_layers)
    for name, weight in network.named_parameters():
        arranged = _arranged(name, weight.detach().float(), network.config)
        writer.add_tensor(names.get_name(name, (".weight",)), arranged.numpy())
    with storage_errors(str(out)):
        try:
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
            writer.flush()
            sync(stage)
            stage.rename(out)
        finally:
            writer.close()
            stage.unlink(missing_ok=True)
    return out


def _llama(folder: Path) -> Path:
    """The model folder of a run, which may be ``folder`` itself."""
    model = folder / "model" if (folder / "model").is_dir() else folder
    kind = (RunFolder(model).read_json("config.json") or {}).get("model_type")
    if kind is None:
        raise UserError(f"run {folder} holds no model/; name the folder of a finished run")
    if kind != "llama":
        raise UserError(f"run {folder} holds a model of the kind {kind!r:.40}; a GGUF file is written of a llama alone")
    return model


def _add_sizes(writer: Any, config: Any) -> None:
    writer.add_file_type(0)  # all in float32
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    for add in (writer.add_key_length, writer.add_value_length, writer.add_rope_dimension_count):
        add(config.head_dim)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)


def _add_tokenizer(writer: Any, tokenizer: Any, merges: list[str]) -> None:
    types = [NORMAL] * len(tokenizer)
    for id, token in tokenizer.added_tokens_decoder.items():
        types[id] = CONTROL if token.special else USER_DEFINED
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokenizer.convert_ids_to_tokens(range(len(tokenizer))))
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    # As in training, where every text follows the end of another one.
    writer.add_bos_token_id(tokenizer.eos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(True)


def _merges(tokenizer: Any, folder: Path) -> list[str]:
    """The merges of a byte-level BPE that cuts text at the places where GPT-2 does; others are refused."""
    backend = tokenizer.backend_tokenizer
    model, cuts = (json.loads(backend.to_str())[part] or {} for part in ("model", "pre_tokenizer"))
    if model.get("type") != "BPE" or cuts.get("type") != "ByteLevel" or not cuts.get("use_regex", True):
        kind = "a vocabulary of words" if model.get("type") == "WordLevel" else "a tokenizer of another kind"
        raise UserError(f"run {folder} has {kind}; a GGUF file is written with a byte-level BPE as GPT-2's alone")
    if backend.normalizer is not None and backend.normalizer.normalize_str(PROBE) != PROBE:
        raise UserError(f"run {folder} has a tokenizer that changes letters, which llama.cpp does not")
    return [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]


def _arranged(name: str, weight: Tensor, config: Any) -> Tensor:
    """A weight as llama.cpp has it: of queries and keys, the two numbers that a position turns are neighbours."""
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(name.split(".")[-2])
    if heads is None:
        return weight
    return torch.stack(weight.view(heads, 2, -1, weight.shape[1]).unbind(1), 2).reshape(weight.shape)
