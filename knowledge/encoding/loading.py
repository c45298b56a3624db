"""Finds, quantizes where needed, and loads the model that the settings name."""

import hashlib
import tempfile
from pathlib import Path

import structlog

from contracts.settings import EncoderSettings
from knowledge.encoding.builtin_model import ensure_builtin_model
from knowledge.encoding.engine import EncoderEngine
from knowledge.encoding.model_directory import (
    FP32_FILE,
    INT8_FILE,
    ModelDirectory,
    ModelDirectoryError,
)

_log = structlog.get_logger("knowledge.encoding")


def load_encoder(settings: EncoderSettings, models_dir: Path) -> EncoderEngine:
    """Return the engine that `settings` describe.

    Args:
        models_dir: where the built-in model and quantized graphs are kept.

    Raises:
        ModelDirectoryError: there is no usable model in the directory.
    """
    path = settings.model_dir or ensure_builtin_model(models_dir, settings.precision)
    directory = ModelDirectory(path)
    graph_file = directory.graph_file(settings.precision)
    if graph_file is None:
        if settings.precision == "fp32":
            raise ModelDirectoryError(f"{path}: there is no {FP32_FILE}")
        graph_file = _ensure_quantized(directory, models_dir)
    return EncoderEngine(
        directory,
        graph_file,
        name=f"{directory.name}-{settings.precision}",
        threads=settings.threads,
    )


def _ensure_quantized(directory: ModelDirectory, models_dir: Path) -> Path:
    """Return the INT8 graph of an export that brought none, made from its `model.onnx`."""
    source = directory.graph_file("fp32")
    if source is None:
        raise ModelDirectoryError(f"{directory.path}: there is neither {FP32_FILE} nor {INT8_FILE}")
    status = source.stat()
    identity = f"{source.resolve()}\n{status.st_size}\n{status.st_mtime_ns}"
    digest = hashlib.sha256(identity.encode()).hexdigest()[:16]
    target = models_dir / f"{directory.name.replace('/', '_')}-{digest}" / INT8_FILE
    if target.is_file():
        return target
    # Imported here: it brings the whole of onnx, which an engine at work does without.
    from onnxruntime.quantization import QuantType, quantize_dynamic

    _log.info("quantizing the model", model=directory.name)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            quantized = Path(folder) / INT8_FILE
            quantize_dynamic(
                source,
                quantized,
                op_types_to_quantize=["MatMul"],
                per_channel=True,
                weight_type=QuantType.QInt8,
            )
            quantized.rename(target)
    except OSError as error:
        raise ModelDirectoryError(f"{models_dir}: no place for the model: {error}") from error
    return target
