"""Reads the settings for a command."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import click

from contracts.settings import SettingsError, load_settings

F = TypeVar("F", bound=Callable[..., Any])


def with_settings(command: F) -> F:
    """Pass the settings as the first argument; a wrong one ends the command."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            settings = load_settings()
        except SettingsError as error:
            raise click.ClickException(str(error)) from error
        return command(settings, *args, **kwargs)

    return run  # type: ignore[return-value]
