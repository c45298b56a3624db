"""Which encoder a run gets."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from knowledge.encoding.remote_encoder import BlockingRemoteEncoder
from resources.encoder import EncoderResource

ROOT = Path(__file__).parents[2]


@pytest.fixture
def models_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SLUICE_DATA_DIR", str(tmp_path))
    return tmp_path / "models"


def test_off_by_the_settings_or_by_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    with EncoderResource(is_enabled=False).open() as encoder:
        assert encoder is None
    monkeypatch.setenv("SLUICE_ENCODER_ENABLED", "false")
    with EncoderResource().open() as encoder:
        assert encoder is None


def test_a_url_is_another_processs_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_ENCODER_URL", "127.0.0.1:1")
    with EncoderResource().open() as encoder:
        assert isinstance(encoder, BlockingRemoteEncoder)


def test_without_a_url_the_model_is_loaded_here(models_dir: Path) -> None:
    with EncoderResource().open() as encoder:
        assert encoder is not None
        (encoding,) = encoder.encode(["A sluice."], kind="document", with_tokens=True)
        assert encoding.dense.shape == (encoder.model.dimensions,)
    with EncoderResource().open(precision="fp32") as other:
        assert other is not None
        assert other.model.name != encoder.model.name


def test_no_such_precision_is_refused(models_dir: Path) -> None:
    with pytest.raises(ValidationError, match="precision"), EncoderResource().open(precision="x"):
        pass


def test_the_resource_alone_imports_nothing_heavy() -> None:
    code = (
        "import json, sys; import resources.encoder;"
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert set(json.loads(result.stdout)) & {"onnxruntime", "numpy", "grpc_tools"} == set()
