"""The Dagster resource for the encoder: in this process, or another's over gRPC."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dagster import ConfigurableResource
from pydantic import Field

from contracts.settings import EncoderSettings, load_settings

if TYPE_CHECKING:
    # ONNX Runtime and NumPy are for runs that encode: every run imports this module.
    from knowledge.ports import BlockingEncoder


class EncoderResource(ConfigurableResource):  # type: ignore[type-arg]
    """The encoder of the platform's settings."""

    is_enabled: bool | None = Field(
        default=None, description="Default: the platform's settings, `encoder.enabled`."
    )

    @contextmanager
    def open(
        self,
        *,
        model_dir: str | None = None,
        precision: str | None = None,
    ) -> "Iterator[BlockingEncoder | None]":
        """Yield the encoder; None where it is off.

        Args:
            model_dir: a model to load into this process in place of the settings' encoder.
            precision: of that model, or of the built-in one: `int8` or `fp32`.

        Raises:
            pydantic.ValidationError: there is no such precision.
            knowledge.encoding.model_directory.ModelDirectoryError: the model cannot be loaded.
        """
        settings = load_settings()
        is_enabled = settings.encoder.enabled if self.is_enabled is None else self.is_enabled
        is_other_model = model_dir is not None or precision is not None
        if not is_enabled and not is_other_model:
            yield None
        elif settings.encoder.url is not None and not is_other_model:
            from knowledge.encoding.remote_encoder import BlockingRemoteEncoder

            with BlockingRemoteEncoder(settings.encoder.url) as remote:
                yield remote
        else:
            from knowledge.encoding.loading import load_encoder

            other = {"model_dir": model_dir, "precision": precision}
            chosen = EncoderSettings.model_validate(
                settings.encoder.model_dump()
                | {name: value for name, value in other.items() if value is not None}
            )
            yield load_encoder(chosen, settings.models_dir)
