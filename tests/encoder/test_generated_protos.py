"""The generated modules are those of the proto."""

from pathlib import Path

import grpc_tools
from grpc_tools import protoc

from sluice.servers.dagster import PROJECT_ROOT

_PROTOS = Path("contracts/protos")


def test_the_generated_modules_are_those_of_the_proto(tmp_path: Path) -> None:
    outputs = [f"--{kind}_out={tmp_path}" for kind in ("python", "pyi", "grpc_python")]
    includes = [f"-I{PROJECT_ROOT}", f"-I{Path(grpc_tools.__file__).parent / '_proto'}"]
    sources = sorted(str(path) for path in (PROJECT_ROOT / _PROTOS).glob("*.proto"))

    assert protoc.main(["protoc", *includes, *outputs, *sources]) == 0

    generated = {path.name: path.read_text() for path in (tmp_path / _PROTOS).iterdir()}
    kept = {path.name: path.read_text() for path in (PROJECT_ROOT / _PROTOS).glob("*_pb2*")}
    assert len(kept) == 3
    assert generated == kept, "run `make protos`"
