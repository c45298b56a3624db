"""The lake, its catalog and its engines."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SecretStr, model_validator

from contracts.settings.section import Section, read_secret, strip_trailing_slash


class LakeSettings(Section):
    """The lake: Iceberg tables of everything that the pipeline has stored."""

    enabled: bool = Field(default=True, description="Off: the schedules move nothing.")
    warehouse: str | None = Field(
        default=None,
        pattern=r"^(/|file:///|s3://)\S+$",
        description="Where data files go: a folder or `s3://bucket/prefix`; default: `lake` in"
        " data_dir.",
    )
    file_mebibytes: int = Field(
        default=64, ge=1, le=1024, description="Rows of one data file, before compression."
    )
    snapshot_days: float = Field(
        default=7, gt=0, description="How long snapshots are kept, for time travel."
    )
    catalog: Literal["embedded", "nessie"] = Field(
        default="embedded", description="`nessie`: a server, with its warehouse on S3."
    )
    nessie_url: Annotated[str, AfterValidator(strip_trailing_slash)] = Field(
        default="http://127.0.0.1:19120", pattern=r"^https?://\S+$"
    )
    nessie_warehouse: str = Field(
        default="warehouse", min_length=1, description="Its name in Nessie's configuration."
    )
    s3_endpoint: str | None = Field(
        default=None, pattern=r"^https?://\S+$", description="Default: that of AWS."
    )
    s3_region: str = "us-east-1"
    s3_access_key: str | None = Field(
        default=None, description="Without it, the credentials of the environment."
    )
    s3_secret_key: SecretStr | None = None
    s3_secret_key_file: Path | None = Field(
        default=None, description="File with the secret key, in its place."
    )
    trino_url: str = Field(
        default="http://127.0.0.1:8081",
        pattern=r"^https?://[^/\s:]+:\d+$",
        description="Builds and answers from the marts where the catalog is `nessie`.",
    )
    trino_catalog: str = Field(default="lake", pattern=r"^\w+$")
    dbt_executable: str | None = Field(
        default=None, min_length=1, description="Default: the dbt of this environment."
    )

    @model_validator(mode="before")
    @classmethod
    def _read_s3_secret_key(cls, section: Any) -> Any:
        if not isinstance(section, dict) or section.get("s3_secret_key_file") is None:
            return section
        if section.get("s3_secret_key") is not None:
            raise ValueError("s3_secret_key and s3_secret_key_file exclude each other")
        return {**section, "s3_secret_key": read_secret(section, "s3_secret_key_file")}
