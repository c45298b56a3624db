"""A language model small enough for a test: the llama architecture with random weights."""

from pathlib import Path

import gguf
import numpy as np

_LAYERS = 2
_EMBEDDING = 64
_HEADS = 4
_FEED_FORWARD = 128
_CONTEXT = 4096

_SPECIAL = ("<unk>", "<s>", "</s>")
_WORDS = (
    *("weir", "gate", "water", "level", "river", "turbine", "runner", "spare", "diver", "hall"),
    *("opens", "closes", "rises", "falls", "slowly", "quickly", "north", "south", "bay", "dry"),
    *("spring", "autumn", "flood", "lock", "canal", "bridge", "the", "a", "of", "in", "and"),
)
_TEMPLATE = (
    "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)


def write_tiny_gguf(file: Path, *, seed: int = 7, follows_grammars: bool = False) -> Path:
    """Write a model of about 100,000 weights that speaks in words of a small vocabulary.

    The same `seed` gives the same file, so at temperature 0 the same answers.

    Args:
        follows_grammars: llama.cpp has a grammar read the end of the prompt too, which it cannot
            where the tokenizer puts a space before it.
    """
    random = np.random.default_rng(seed)
    pieces = [f"\N{LOWER ONE EIGHTH BLOCK}{word}" for word in _WORDS]
    letters = [chr(code) for code in range(ord("!"), ord("~") + 1)] + ["\N{LOWER ONE EIGHTH BLOCK}"]
    byte_pieces = [f"<0x{value:02X}>" for value in range(256)]
    vocabulary = [*_SPECIAL, *byte_pieces, *letters, *pieces]
    writer = gguf.GGUFWriter(str(file), "llama")
    writer.add_name("tiny")
    writer.add_context_length(_CONTEXT)
    writer.add_embedding_length(_EMBEDDING)
    writer.add_block_count(_LAYERS)
    writer.add_feed_forward_length(_FEED_FORWARD)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_HEADS)
    writer.add_rope_dimension_count(_EMBEDDING // _HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(vocabulary))
    _add_tokenizer(writer, vocabulary, letter_count=len(letters))
    if follows_grammars:
        writer.add_add_space_prefix(False)
    _add_weights(writer, random, len(vocabulary))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def _add_tokenizer(writer: gguf.GGUFWriter, vocabulary: list[str], *, letter_count: int) -> None:
    kinds = [
        gguf.TokenType.UNKNOWN,
        gguf.TokenType.CONTROL,
        gguf.TokenType.CONTROL,
        *[gguf.TokenType.BYTE] * 256,
    ]
    kinds += [gguf.TokenType.NORMAL] * (len(vocabulary) - len(kinds))
    first_word = len(_SPECIAL) + 256 + letter_count
    scores = [-100.0 if index < first_word else 0.0 for index in range(len(vocabulary))]
    writer.add_tokenizer_model("llama")
    writer.add_token_list(vocabulary)
    writer.add_token_scores(scores)
    writer.add_token_types(kinds)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(True)
    writer.add_chat_template(_TEMPLATE)


def _add_weights(
    writer: gguf.GGUFWriter, random: np.random.Generator, vocabulary_size: int
) -> None:
    def matrix(rows: int, columns: int) -> np.ndarray:
        return random.normal(0, columns**-0.5, (rows, columns)).astype(np.float32)

    ones = np.ones(_EMBEDDING, dtype=np.float32)
    output = matrix(vocabulary_size, _EMBEDDING)
    # Only whole words may be the likeliest token: single bytes are seldom valid UTF-8.
    output[: vocabulary_size - len(_WORDS)] = 0
    writer.add_tensor("token_embd.weight", matrix(vocabulary_size, _EMBEDDING))
    writer.add_tensor("output_norm.weight", ones)
    writer.add_tensor("output.weight", output)
    for layer in range(_LAYERS):
        writer.add_tensor(f"blk.{layer}.attn_norm.weight", ones)
        writer.add_tensor(f"blk.{layer}.ffn_norm.weight", ones)
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", matrix(_EMBEDDING, _EMBEDDING))
        for name in ("ffn_gate", "ffn_up"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", matrix(_FEED_FORWARD, _EMBEDDING))
        writer.add_tensor(f"blk.{layer}.ffn_down.weight", matrix(_EMBEDDING, _FEED_FORWARD))
