"""The model servers behind the gateway."""

import os
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SecretStr, field_validator

from contracts.settings.section import Seconds, Section, strip_trailing_slash

Api = Literal["chat", "messages", "responses", "embeddings"]
"""OpenAI's chat completions, Anthropic's messages, OpenAI's responses and embeddings."""

_DEFAULT_BACKEND_PORTS = {"vllm": 8000, "llamacpp": 8081, "lmstudio": 1234}


class BackendSettings(Section):
    """One model server. `[[backends]]` in the file."""

    name: str = Field(min_length=1, description="Shown in events, logs and metrics.")
    kind: Literal["vllm", "llamacpp", "lmstudio", "openai"] = Field(
        description="`openai` is any other OpenAI-compatible server."
    )
    url: Annotated[str, AfterValidator(strip_trailing_slash)] = Field(
        default="",
        pattern=r"^(https?://\S+)?$",
        description="Without the `/v1`. Default: the kind's port on `$COMPUTE_HOST`.",
    )
    models: tuple[str, ...] = Field(
        default=(),
        description="Model names served here, `*` as a wildcard; empty: ask the server.",
    )
    aliases: dict[str, str] = Field(
        default={},
        description="Further names for models, each with the server's own name for it. A `*` in"
        " the name is a wildcard, and one in the server's name is what the wildcard stood for.",
    )
    apis: tuple[Api, ...] | None = Field(
        default=None,
        min_length=1,
        description="What the server speaks itself. Default: chat and embeddings, and what it is"
        " found to speak when it is asked.",
    )
    priority: int = Field(
        default=0,
        description="Of several backends for a model, those with a lower number come first.",
    )
    weight: float = Field(
        default=1.0, gt=0, le=1000, description="Share of the requests among equal priorities."
    )
    max_concurrency: int | None = Field(
        default=None, ge=1, description="Requests it works on at once; default: without limit."
    )
    max_queued: int = Field(
        default=100, ge=0, le=100_000, description="Requests that wait for one of those to end."
    )
    queue_timeout_seconds: Seconds = Field(
        default=30.0, description="A request that has waited this long is refused."
    )
    api_key: SecretStr | None = Field(default=None, description="Sent as a bearer token.")
    context_length: int = Field(default=8192, ge=256, description="Tokens.")
    connect_timeout_seconds: Seconds = 5.0
    first_byte_timeout_seconds: Seconds = 300.0
    idle_timeout_seconds: Seconds = 120.0

    @property
    def base_url(self) -> str:
        """The server's address without a trailing slash or `/v1`."""
        if self.url:
            return self.url.removesuffix("/v1")
        host = os.environ.get("COMPUTE_HOST", "127.0.0.1")
        return f"http://{host}:{_DEFAULT_BACKEND_PORTS[self.kind]}"

    @field_validator("models")
    @classmethod
    def _check_models(cls, models: tuple[str, ...]) -> tuple[str, ...]:
        if not all(models):
            raise ValueError("a model's name is empty")
        return models

    @field_validator("aliases")
    @classmethod
    def _check_aliases(cls, aliases: dict[str, str]) -> dict[str, str]:
        for alias, model in aliases.items():
            if not alias or not model:
                raise ValueError(f"{alias!r} = {model!r}: a name is empty")
            if alias == model:
                raise ValueError(f"{alias!r} is an alias of itself; list it in models")
            if "*" in model and (model.count("*") > 1 or alias.count("*") != 1):
                raise ValueError(
                    f"{alias!r} = {model!r}: a wildcard in the server's name needs exactly one in"
                    " the alias"
                )
        return aliases

    def model_post_init(self, _context: Any) -> None:
        if self.kind == "openai" and not self.url:
            raise ValueError(f"backend {self.name!r} of kind 'openai' needs a url")
        for alias in self.aliases:
            if alias in self.models:
                raise ValueError(f"backend {self.name!r} has {alias!r} in models and in aliases")
        if self.max_concurrency is None:
            for setting in ("max_queued", "queue_timeout_seconds"):
                if setting in self.model_fields_set:
                    raise ValueError(
                        f"backend {self.name!r} has {setting} without max_concurrency: without a"
                        " limit nothing waits"
                    )
