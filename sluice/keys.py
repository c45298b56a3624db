"""The commands `sluice keys`: the gateway's API keys."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, get_args

import click
import msgspec

from contracts.events import ContentCapture
from contracts.settings import Settings
from sluice.with_settings import with_settings

if TYPE_CHECKING:
    from gateway.access.api_keys import ApiKey

_DAYS = re.compile(r"([1-9][0-9]{0,4})d")


@click.group()
def keys() -> None:
    """API keys of the gateway. A running gateway notices a change within seconds."""


def _read_expiry(
    _context: click.Context, _parameter: click.Parameter, value: str | None
) -> datetime | None:
    if value is None:
        return None
    now = datetime.now(UTC)
    if days := _DAYS.fullmatch(value):
        return (now + timedelta(days=int(days[1]))).replace(microsecond=0)
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as error:
        raise click.BadParameter(
            f"{value!r} is neither a number of days such as 90d nor a date such as 2030-12-31"
        ) from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    if moment <= now:
        raise click.BadParameter(f"{value!r} is in the past")
    return moment


@keys.command()
@click.argument("name")
@click.option("--model", "models", multiple=True, help="That may be used; `*`, repeatable.")
@click.option(
    "--collection", "collections", multiple=True, help="That may be searched; repeatable."
)
@click.option("--requests-per-minute", type=click.IntRange(min=1))
@click.option("--tokens-per-minute", type=click.IntRange(min=1))
@click.option("--expires", "expires_at", callback=_read_expiry, help="90d, or 2030-12-31 (UTC).")
@click.option(
    "--capture",
    "content_capture",
    type=click.Choice(get_args(ContentCapture)),
    default="full",
    show_default=True,
    help="What events hold of messages, answers, tool arguments and queries.",
)
@click.option("--rotate", is_flag=True, help="Share the name of a key that is still valid.")
@with_settings
def create(settings: Settings, name: str, rotate: bool, **rights: Any) -> None:
    """Make a key for NAME and print it: it is shown this once, and only its hash is kept."""
    from gateway.access.api_keys import ApiKey, now_to_the_second
    from gateway.access.key_file import NameTaken, create_key

    placeholders = {"key_id": "0" * 12, "sha256": "0" * 64, "created_at": now_to_the_second()}
    try:
        template = msgspec.convert({"name": name, **placeholders, **rights}, ApiKey)
    except msgspec.ValidationError as error:
        raise click.BadParameter(str(error)) from error
    with _readable_errors():
        try:
            key, entry = create_key(settings.keys_file, template, may_share_name=rotate)
        except NameTaken as error:
            raise click.ClickException(
                f"a valid key has the name {name!r}; --rotate makes another for the same caller"
            ) from error
    click.echo(f"key {entry.key_id} of {entry.name} in {settings.keys_file}", err=True)
    click.echo(key)


@keys.command("list")
@click.option("--json", "as_json", is_flag=True, help="For programs; without the hashes.")
@with_settings
def list_keys(settings: Settings, as_json: bool) -> None:
    """Show the keys and what they may do."""
    from rich.console import Console
    from rich.table import Column, Table

    from gateway.access.key_file import read_keys

    now = datetime.now(UTC)
    with _readable_errors():
        try:
            entries = read_keys(settings.keys_file)
        except FileNotFoundError:
            entries = ()
    if as_json:
        rows = []
        for each in entries:
            row = {"status": each.status(now), **msgspec.structs.asdict(each)}
            del row["sha256"]
            rows.append(row)
        click.echo(msgspec.json.format(msgspec.json.encode(rows)))
        return
    table = Table(Column("id", no_wrap=True), "name", "status", "rights")
    for each in entries:
        table.add_row(each.key_id, each.name, each.status(now), "\n".join(_rights_of(each)))
    Console().print(table)


@keys.command()
@click.argument("key_id")
@with_settings
def revoke(settings: Settings, key_id: str) -> None:
    """Make the key of KEY_ID invalid for good. Its entry stays in the list."""
    from gateway.access.key_file import NoSuchKey, revoke_key

    with _readable_errors():
        try:
            entry = revoke_key(settings.keys_file, key_id)
        except NoSuchKey as error:
            raise click.ClickException(f"there is no key of the ID {key_id!r}") from error
    click.echo(f"key {entry.key_id} of {entry.name} is revoked")


def _rights_of(key: "ApiKey") -> Iterator[str]:
    yield f"models: {', '.join(key.models) or 'any'}"
    yield f"collections: {', '.join(key.collections) or 'any'}"
    if key.requests_per_minute is not None:
        yield f"{key.requests_per_minute} requests a minute"
    if key.tokens_per_minute is not None:
        yield f"{key.tokens_per_minute} tokens a minute"
    if key.content_capture != "full":
        yield f"content in events: {key.content_capture}"
    if key.expires_at is not None:
        yield f"until {key.expires_at:%Y-%m-%d %H:%M %Z}"


@contextmanager
def _readable_errors() -> Iterator[None]:
    from gateway.access.key_file import KeyFileError

    try:
        yield
    except (KeyFileError, OSError) as error:
        raise click.ClickException(str(error)) from error
