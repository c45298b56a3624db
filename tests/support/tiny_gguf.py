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
_TOOL_CALL = "<tool_call>"
_TOOL_TEMPLATE = (
    "{% if tools %}<|im_start|>system\n<tools>{% for tool in tools %}\n{{ tool | tojson }}"
    "{% endfor %}\n</tools><|im_end|>\n{% endif %}"
    "{% for message in messages %}{% if message.role == 'tool' %}<|im_start|>user\n"
    "<tool_response>\n{{ message.content }}\n</tool_response><|im_end|>\n"
    "{% else %}<|im_start|>{{ message.role }}\n{{ message.content or '' }}"
    "{% for call in message.tool_calls or [] %}\n<tool_call>"
    '{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}'
    "</tool_call>{% endfor %}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""The form of a call that Hermes and Qwen models are trained on."""
_URGE = 4.0
"""The weight of what a model that calls tools says: a call, and after the `>` of one the end."""


def write_tiny_gguf(
    file: Path, *, seed: int = 7, follows_grammars: bool = False, calls_tools: bool = False
) -> Path:
    """Write a model of about 100,000 weights that speaks in words of a small vocabulary.

    The same `seed` gives the same file, so at temperature 0 the same answers.

    Args:
        follows_grammars: llama.cpp has a grammar read the end of the prompt too, which it cannot
            where the tokenizer puts a space before it.
        calls_tools: it calls a tool; llama.cpp's grammar sees to it that it is one of those given.
    """
    random = np.random.default_rng(seed)
    pieces = [f"\N{LOWER ONE EIGHTH BLOCK}{word}" for word in _WORDS]
    letters = [chr(code) for code in range(ord("!"), ord("~") + 1)] + ["\N{LOWER ONE EIGHTH BLOCK}"]
    byte_pieces = [f"<0x{value:02X}>" for value in range(256)]
    vocabulary = [*_SPECIAL, *byte_pieces, *letters, *pieces]
    if calls_tools:
        vocabulary.append(_TOOL_CALL)
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
    writer.add_chat_template(_TOOL_TEMPLATE if calls_tools else _TEMPLATE)
    output = _random_matrix(random, len(vocabulary), _EMBEDDING)
    token_embedding = _random_matrix(random, len(vocabulary), _EMBEDDING)
    # Only whole words may be the likeliest token: single bytes are seldom valid UTF-8.
    output[: vocabulary.index(pieces[0])] = 0
    if calls_tools:
        token_embedding[:, 0] = _URGE
        output[-1] = 0
        output[-1, 0] = _URGE
        token_embedding[vocabulary.index(">"), 1] = 4 * _URGE
        output[_SPECIAL.index("</s>"), 1] = 4 * _URGE
    _add_weights(writer, random, token_embedding, output)
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
    if vocabulary[-1] == _TOOL_CALL:
        kinds[-1] = gguf.TokenType.USER_DEFINED
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


def _random_matrix(random: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    return random.normal(0, columns**-0.5, (rows, columns)).astype(np.float32)


def _add_weights(
    writer: gguf.GGUFWriter,
    random: np.random.Generator,
    token_embedding: np.ndarray,
    output: np.ndarray,
) -> None:
    ones = np.ones(_EMBEDDING, dtype=np.float32)
    writer.add_tensor("token_embd.weight", token_embedding)
    writer.add_tensor("output_norm.weight", ones)
    writer.add_tensor("output.weight", output)
    for layer in range(_LAYERS):
        writer.add_tensor(f"blk.{layer}.attn_norm.weight", ones)
        writer.add_tensor(f"blk.{layer}.ffn_norm.weight", ones)
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            writer.add_tensor(
                f"blk.{layer}.{name}.weight", _random_matrix(random, _EMBEDDING, _EMBEDDING)
            )
        for name in ("ffn_gate", "ffn_up"):
            writer.add_tensor(
                f"blk.{layer}.{name}.weight", _random_matrix(random, _FEED_FORWARD, _EMBEDDING)
            )
        writer.add_tensor(
            f"blk.{layer}.ffn_down.weight", _random_matrix(random, _EMBEDDING, _FEED_FORWARD)
        )
