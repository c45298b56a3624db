"""What the sections of the settings are made of."""

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0)]


class Section(BaseModel):
    """A table of the file: no key but its own, and never changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ServerSection(Section):
    """A server that a URL names, its password from the URL or from a file."""

    url: SecretStr | None = None
    password_file: Path | None = Field(
        default=None,
        description="File with the password of the user in `url`, where that has none.",
    )

    @model_validator(mode="before")
    @classmethod
    def _put_password_into_url(cls, section: Any) -> Any:
        if not isinstance(section, dict) or section.get("password_file") is None:
            return section
        url = section.get("url")
        if isinstance(url, SecretStr):
            url = url.get_secret_value()
        parts = urlsplit(url or "")
        if not parts.username:
            raise ValueError("password_file needs a url that names the user")
        if parts.password is not None:
            return section
        user, _, address = parts.netloc.partition("@")
        password = quote(read_secret(section, "password_file"), safe="")
        netloc = f"{user}:{password}@{address}"
        return {**section, "url": parts._replace(netloc=netloc).geturl()}


def read_secret(section: dict[str, Any], setting: str) -> str:
    """Return what the file that `setting` names holds, without the newline at its end."""
    file = Path(section[setting])
    try:
        secret = file.read_text().rstrip("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{setting} = {str(file)!r} cannot be read: {error}") from error
    if not secret:
        raise ValueError(f"{setting} = {str(file)!r} is empty")
    return secret


def strip_trailing_slash(url: str) -> str:
    """Return a URL that paths can be put behind."""
    return url.rstrip("/")
