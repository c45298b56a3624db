"""The commands `sluice dead-letters`: messages that could not become rows."""

from collections.abc import Sequence
from typing import Any

import click
import msgspec

from contracts.settings import Settings
from sluice.with_settings import with_settings

_JOB = "handle_dead_letters"
_WIDEST_ERROR = 120


@click.group("dead-letters")
def dead_letters() -> None:
    """Messages that could not become rows: look at them, try again, or give them up."""


@dead_letters.command("list")
@click.option("--all", "is_all", is_flag=True, help="Also those that were replayed or dropped.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(min=1))
@click.option("--json", "as_json", is_flag=True, help="For programs; without the bodies.")
@with_settings
def list_letters(settings: Settings, is_all: bool, limit: int, as_json: bool) -> None:
    """Show the newest dead letters, open ones unless told otherwise."""
    from rich.console import Console
    from rich.table import Table

    rows = _read(
        settings,
        "SELECT dead_letter_id, recorded_at, consumer, subject, stream_sequence, reason, error,"
        " CASE WHEN dropped_at IS NOT NULL THEN 'dropped'"
        " WHEN replayed_at IS NOT NULL THEN 'replayed' ELSE 'open' END AS state"
        " FROM dead_letters WHERE %(is_all)s OR (replayed_at IS NULL AND dropped_at IS NULL)"
        " ORDER BY dead_letter_id DESC LIMIT %(limit)s",
        is_all=is_all,
        limit=limit,
    )
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(rows)))
        return
    table = Table("id", "recorded", "consumer", "sequence", "state", "reason", "error")
    for row in rows:
        table.add_row(
            str(row["dead_letter_id"]),
            f"{row['recorded_at']:%Y-%m-%d %H:%M:%S}",
            row["consumer"],
            str(row["stream_sequence"]),
            row["state"],
            row["reason"],
            row["error"][:_WIDEST_ERROR],
        )
    Console().print(table)


@dead_letters.command()
@click.argument("letter_id", type=int)
@click.option("--body", "is_body_only", is_flag=True, help="The message's bytes, nothing else.")
@with_settings
def show(settings: Settings, letter_id: int, is_body_only: bool) -> None:
    """Show one dead letter with its headers and its body."""
    rows = _read(
        settings,
        "SELECT * FROM dead_letters WHERE dead_letter_id = %(letter_id)s",
        letter_id=letter_id,
    )
    if not rows:
        raise click.ClickException(f"there is no dead letter {letter_id}")
    (letter,) = rows
    body = bytes(letter.pop("body"))
    if is_body_only:
        click.echo(body, nl=False)
        return
    letter["body"] = body.decode(errors="backslashreplace")
    click.echo(msgspec.json.format(msgspec.json.encode(letter)))


@dead_letters.command()
@click.argument("letter_ids", nargs=-1, type=int, metavar="[ID]…")
@click.option("--all", "is_all", is_flag=True, help="Every open letter.")
@with_settings
def replay(settings: Settings, letter_ids: tuple[int, ...], is_all: bool) -> None:
    """Try again to make rows of dead letters, such as after an upgrade."""
    figures = _handle(settings, "replay", letter_ids, is_all=is_all)
    click.echo(
        f"{figures['replayed']} replayed, {figures['rows_written']} rows written,"
        f" {figures['refused_again']} refused again, {figures['open']} open"
    )


@dead_letters.command()
@click.argument("letter_ids", nargs=-1, type=int, metavar="[ID]…")
@click.option("--all", "is_all", is_flag=True, help="Every open letter.")
@with_settings
def drop(settings: Settings, letter_ids: tuple[int, ...], is_all: bool) -> None:
    """Give dead letters up. They stay in the table, and are no longer open."""
    figures = _handle(settings, "drop", letter_ids, is_all=is_all)
    click.echo(f"{figures['dropped']} dropped, {figures['open']} open")
    if len(set(letter_ids)) > int(figures["dropped"]):
        raise click.ClickException("the others of these letters are not there, or not open")


def _handle(
    settings: Settings, what: str, letter_ids: Sequence[int], *, is_all: bool
) -> dict[str, int | str]:
    """Have Dagster replay or drop letters; return the run's figures."""
    from sluice.dagster_api import RunFailed, follow, launch
    from sluice.endpoints import find_endpoints

    if is_all == bool(letter_ids):
        raise click.UsageError("name the letters by their IDs, or take --all")
    if is_all:
        rows = _read(
            settings,
            "SELECT dead_letter_id FROM dead_letters"
            " WHERE replayed_at IS NULL AND dropped_at IS NULL",
        )
        letter_ids = [row["dead_letter_id"] for row in rows]
    dagster_url = find_endpoints(settings).dagster
    config = {"ops": {"dead_letters": {"config": {what: list(letter_ids)}}}}
    try:
        (figures,) = follow(dagster_url, launch(dagster_url, _JOB, config))
    except RunFailed as error:
        raise click.ClickException(str(error)) from error
    return figures


def _read(settings: Settings, statement: Any, **values: Any) -> list[dict[str, Any]]:
    import psycopg
    from psycopg.rows import dict_row

    from sluice.endpoints import find_endpoints

    try:
        with psycopg.connect(find_endpoints(settings).postgres, row_factory=dict_row) as connection:
            return connection.execute(statement, values).fetchall()
    except psycopg.Error as error:
        raise click.ClickException(f"the database failed: {error}") from error
