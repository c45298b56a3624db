"""Reads the settings, and explains what is wrong with them."""

import os
import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from contracts.settings.all_settings import CONFIG_VARIABLE, DEFAULT_CONFIG_FILE, Settings

_SECRET_KEYS = {"api_key", "url", "postgres_url", "s3_secret_key"}
"""Never repeated in a complaint: a URL may hold a password."""


class SettingsError(Exception):
    """A setting is wrong; the message names the key, the value and what is allowed."""


def load_settings(**overrides: Any) -> Settings:
    """Read the settings from `overrides`, the environment and the file.

    Raises:
        SettingsError: a value is not allowed, a key is unknown, the file is missing or no TOML.
    """
    named_file = os.environ.get(CONFIG_VARIABLE)
    if named_file and not Path(named_file).is_file():
        raise SettingsError(f"{CONFIG_VARIABLE} names {named_file!r}, which is no file")
    _adopt_common_variable("DATABASE_URL", "postgres", overrides)
    _adopt_common_variable("NATS_URL", "nats", overrides)
    try:
        return Settings(**overrides)
    except ValidationError as error:
        raise SettingsError(_explain(error)) from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(
            f"{named_file or DEFAULT_CONFIG_FILE} is no valid TOML: {error}"
        ) from error


def _adopt_common_variable(variable: str, section: str, overrides: dict[str, Any]) -> None:
    """Let e.g. `DATABASE_URL` stand for `SLUICE_POSTGRES_URL`, which wins where both are set."""
    value = os.environ.get(variable)
    if value and f"SLUICE_{section.upper()}_URL" not in os.environ:
        overrides.setdefault(section, {}).setdefault("url", value)


def _explain(error: ValidationError) -> str:
    lines = []
    for problem in error.errors(include_url=False):
        key = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            lines.append(f"{key}: unknown setting; {_known_keys(problem['loc'])}")
        else:
            lines.append(f"{key}{_show_value(problem['loc'], problem['input'])}: {problem['msg']}")
    return "wrong settings:\n  " + "\n  ".join(lines)


def _show_value(location: tuple[int | str, ...], value: object) -> str:
    if _SECRET_KEYS.intersection(location):
        return " = …"
    # A whole table may hold a secret somewhere, and the complaint names what is wrong in it.
    return "" if isinstance(value, (dict, list, tuple)) else f" = {value!r}"


def _known_keys(location: tuple[int | str, ...]) -> str:
    model: Any = Settings
    for part in location[:-1]:
        if isinstance(part, int):
            continue
        annotation = model.model_fields[part].annotation
        arguments = getattr(annotation, "__args__", ())
        model = arguments[0] if arguments else annotation
    return "known here: " + ", ".join(sorted(model.model_fields))
