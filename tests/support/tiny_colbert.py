"""A ColBERT export in miniature: the files of `pylate-onnx-export`, with a graph of one look-up."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing

DIMENSIONS = 8
SPECIAL = ("[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]", "[Q] ", "[D] ")
WORDS = ("red", "green", "blue", "fox", "river", "stone", ".", ",")


def write_tiny_colbert(directory: Path, **config: Any) -> Path:
    """Write the export; a token's vector is its row of a fixed random table."""
    directory.mkdir(parents=True, exist_ok=True)
    vocabulary = {word: number for number, word in enumerate((*SPECIAL, *WORDS))}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])],
    )
    tokenizer.save(str(directory / "tokenizer.json"))
    table = np.random.default_rng(7).normal(size=(len(vocabulary), DIMENSIONS)).astype(np.float32)
    names = ["input_ids", "attention_mask", "token_type_ids"]
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "input_ids"], ["output"])],
        "tiny_colbert",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["b", "s"]) for name in names],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["b", "s", DIMENSIONS])],
        [numpy_helper.from_array(table, "table")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, directory / "model.onnx")
    settings = {
        "model_name": "tiny/colbert",
        "query_prefix": "[Q] ",
        "document_prefix": "[D] ",
        "query_length": 8,
        "document_length": 6,
        "do_query_expansion": True,
        "skiplist_words": [".", ","],
        "embedding_dim": DIMENSIONS,
        "some_future_key": 1,
        **config,
    }
    (directory / "onnx_config.json").write_text(json.dumps(settings))
    return directory
