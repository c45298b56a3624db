"""The command `sluice`."""

import asyncio
import sys
from pathlib import Path

import click
import msgspec

from contracts.settings import Settings
from sluice.backup.commands import backup, restore
from sluice.dagster import dagster
from sluice.dead_letters import dead_letters
from sluice.devstack.commands import devstack
from sluice.forget import forget
from sluice.keys import keys
from sluice.lake import lake
from sluice.metrics import metrics
from sluice.trace import trace
from sluice.with_settings import with_settings


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="sluice-platform")
def main() -> None:
    """Sluice: a gateway to your own language models whose every call becomes data."""


main.add_command(dagster)
main.add_command(devstack)
main.add_command(keys)
main.add_command(backup)
main.add_command(restore)
main.add_command(dead_letters)
main.add_command(forget)
main.add_command(lake)
main.add_command(metrics)
main.add_command(trace)


@main.command()
@with_settings
def dev(settings: Settings) -> None:
    """Run the whole platform on this machine, in the foreground, until Ctrl-C."""
    from contracts.nkeys import NotAnNkeySeed
    from sluice.dev import run_platform
    from sluice.ports import PortTaken
    from sluice.servers.broker_tls import BrokerTlsError
    from sluice.servers.dagster import DagsterSetupError
    from sluice.servers.postgres import PostgresSetupError
    from sluice.supervisor import ProcessFailed

    try:
        asyncio.run(run_platform(settings))
    except (
        BrokerTlsError,
        DagsterSetupError,
        NotAnNkeySeed,
        PortTaken,
        PostgresSetupError,
        ProcessFailed,
    ) as error:
        raise click.ClickException(str(error)) from error


@main.command()
@click.option("--json", "as_json", is_flag=True, help="For programs; credentials included.")
@with_settings
def status(settings: Settings, as_json: bool) -> None:
    """Show where the parts answer and how they are. Exit code 1 if one is down."""
    from rich.console import Console
    from rich.table import Table

    from sluice.endpoints import find_endpoints
    from sluice.status import check_health

    endpoints = find_endpoints(settings)
    health = asyncio.run(check_health(endpoints))
    if as_json:
        report = msgspec.json.encode({"endpoints": endpoints, "health": health})
        click.echo(msgspec.json.format(report))
    else:
        addresses = endpoints.without_secrets()
        table = Table("part", "health", "ms", "address", "detail")
        for part, each in health.items():
            table.add_row(
                part,
                each.status,
                f"{each.latency_ms:.0f}",
                addresses.get(part, ""),
                each.detail or "",
            )
        Console().print(table)
    if any(each.status != "ok" for each in health.values()):
        sys.exit(1)


@main.command()
@click.option("--url", help="NATS URL with an administrator's credentials.")
@with_settings
def streams(settings: Settings, url: str | None) -> None:
    """Create or update streams and consumers on a NATS server; safe to repeat."""
    import nats.errors

    from contracts.broker_access import BrokerAccessError
    from sluice.endpoints import find_endpoints
    from sluice.streams import apply_streams

    target = url or find_endpoints(settings).broker
    try:
        applied = asyncio.run(apply_streams(target, settings.pipeline, broker=settings.nats))
    except BrokerAccessError as error:
        raise click.ClickException(str(error)) from error
    except (nats.errors.Error, OSError) as error:
        raise click.ClickException(f"the broker failed: {error!r}") from error
    for each in applied:
        click.echo(f"{each.kind:8} {each.name:60} {each.outcome}")


@main.command()
@click.option("--url", help="libpq URL; default: the platform's database.")
@with_settings
def migrate(settings: Settings, url: str | None) -> None:
    """Bring the platform's database to the newest schema; safe to repeat."""
    from sqlalchemy.exc import SQLAlchemyError

    from contracts.settings import with_psycopg
    from sluice.endpoints import find_endpoints
    from sluice.migrations import migrate as apply_migrations

    try:
        seconds = apply_migrations(with_psycopg(url or find_endpoints(settings).postgres))
    except SQLAlchemyError as error:
        raise click.ClickException(f"the migration failed: {error}") from error
    click.echo(f"migrated in {seconds:.1f} s")


def _read_attributes(
    _context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]
) -> dict[str, str]:
    attributes = {}
    for value in values:
        name, separator, content = value.partition("=")
        if not name or not separator:
            raise click.BadParameter(f"{value!r} is not of the form key=value")
        attributes[name] = content
    return attributes


@main.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PATH…")
@click.option("--collection", default="default", show_default=True, help="Where they belong.")
@click.option(
    "--attribute",
    "attributes",
    multiple=True,
    callback=_read_attributes,
    metavar="KEY=VALUE",
    help="Given to every document, for filters; repeatable. Front matter gives attributes too.",
)
@click.option("--keep-missing", is_flag=True, help="Keep documents whose files are gone.")
@click.option("--remove", "is_removal", is_flag=True, help="Delete what was read from the paths.")
@with_settings
def ingest(
    settings: Settings,
    paths: tuple[Path, ...],
    collection: str,
    attributes: dict[str, str],
    keep_missing: bool,
    is_removal: bool,
) -> None:
    """Read documents (Markdown, text, HTML, PDF) for retrieval. Needs a running platform.

    Documents that were read from a folder before and exist no more are removed.
    """
    from rich.progress import Progress as ProgressBar

    from sluice.dagster_api import RunFailed
    from sluice.endpoints import find_endpoints
    from sluice.ingest import Progress
    from sluice.ingest import ingest as follow_ingest
    from sluice.ingest import remove as follow_removal

    absent = [str(path) for path in paths if not is_removal and not path.exists()]
    if absent:
        raise click.BadParameter(f"there is no {', '.join(absent)}", param_hint="PATH…")
    dagster_url = find_endpoints(settings).dagster
    summary = None
    try:
        with ProgressBar() as bar:
            task = bar.add_task("starting", total=None)
            steps = (
                follow_removal(dagster_url, paths, collection=collection)
                if is_removal
                else follow_ingest(
                    dagster_url,
                    paths,
                    collection=collection,
                    attributes=attributes,
                    keep_missing=keep_missing,
                )
            )
            for step in steps:
                if isinstance(step, Progress):
                    bar.update(
                        task,
                        description=f"{step.files_done} of {step.files_total} files",
                        completed=step.files_done,
                        total=step.files_total,
                    )
                else:
                    summary = step
    except RunFailed as error:
        raise click.ClickException(str(error)) from error
    if summary is None:
        raise click.ClickException("the run ended without a summary")
    for source, reason in summary.unreadable:
        click.echo(f"left out: {source}: {reason}", err=True)
    click.echo(
        f"{summary.added} documents added, {summary.replaced} replaced,"
        f" {summary.unchanged} unchanged, {len(summary.unreadable)} unreadable,"
        f" {summary.removed} removed"
    )
    if summary.chunks_written:
        click.echo(
            f"{summary.chunks_written} chunks written at {summary.chunks_per_second:.0f} a second,"
            f" vectors: {summary.embedding_model}"
        )
    click.echo(f"{dagster_url}/runs/{summary.run_id}")


@main.command()
@click.option(
    "--model-dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of the new model; default: the model of the settings.",
)
@click.option("--precision", type=click.Choice(["int8", "fp32"]), help="Of the new model.")
@with_settings
def reembed(settings: Settings, model_dir: Path | None, precision: str | None) -> None:
    """Embed all chunks with another model, then switch to it. Needs a running platform.

    The old vectors serve until the switch. What a stopped command has embedded is kept.
    """
    from rich.progress import Progress as ProgressBar

    from sluice.dagster_api import RunFailed
    from sluice.endpoints import find_endpoints
    from sluice.reembed import Promoted
    from sluice.reembed import reembed as follow_reembedding

    dagster_url = find_endpoints(settings).dagster
    try:
        with ProgressBar() as bar:
            task = bar.add_task("starting", total=None)
            for step in follow_reembedding(dagster_url, model_dir=model_dir, precision=precision):
                if isinstance(step, Promoted):
                    message = f"{step.chunk_count} chunks have vectors of {step.model} now"
                    bar.console.print(message, highlight=False)
                else:
                    bar.update(
                        task,
                        description=f"{step.done} of {step.total} partitions",
                        completed=step.done,
                        total=step.total,
                    )
    except RunFailed as error:
        raise click.ClickException(str(error)) from error


@main.command()
@click.option(
    "--from",
    "start",
    required=True,
    metavar="BOUND",
    help="A stream sequence, an age such as 90m or 2d, or a moment (ISO 8601, UTC).",
)
@click.option("--to", "end", metavar="BOUND", help="Likewise, a sequence included. Default: now.")
@click.option("--job", "jobs", multiple=True, help="Of these only; repeatable.")
@click.option("--dry-run", is_flag=True, help="Show what would be launched, and end.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_settings
def replay(
    settings: Settings, start: str, end: str | None, jobs: tuple[str, ...], dry_run: bool, yes: bool
) -> None:
    """Persist events again that the stream still holds. Rows that are there stay as they are."""
    from datetime import UTC, datetime

    import nats.errors

    from contracts.broker_access import BrokerAccessError
    from contracts.streams import PIPELINE_CONSUMERS
    from sluice.dagster_api import RunFailed
    from sluice.endpoints import find_endpoints
    from sluice.replay import NoBound, launch_replay, plan_replay, read_bound

    known = [each.job_name for each in PIPELINE_CONSUMERS]
    for job in jobs:
        if job not in known:
            raise click.BadParameter(f"there is no job {job!r}; there are {', '.join(known)}")
    now = datetime.now(UTC)
    endpoints = find_endpoints(settings)
    try:
        plan = asyncio.run(
            plan_replay(
                endpoints.broker,
                read_bound(start, now),
                None if end is None else read_bound(end, now),
                jobs,
            )
        )
    except NoBound as error:
        raise click.BadParameter(str(error)) from error
    except BrokerAccessError as error:
        raise click.ClickException(str(error)) from error
    except (nats.errors.Error, OSError) as error:
        raise click.ClickException(f"the broker failed: {error!r}") from error
    if plan.first_published_at and plan.last_published_at:
        click.echo(
            f"sequences {plan.first} to {plan.last}, published"
            f" {plan.first_published_at:%Y-%m-%d %H:%M:%S} to"
            f" {plan.last_published_at:%Y-%m-%d %H:%M:%S} UTC"
        )
    for each in plan.jobs:
        click.echo(f"{each.events:9} events  {each.consumer.job_name}")
    if dry_run or not any(each.events for each in plan.jobs):
        return
    if not yes:
        click.confirm("launch these jobs?", abort=True)
    try:
        for run_id in launch_replay(
            endpoints.dagster, plan, batch_limit=settings.pipeline.batch_limit
        ):
            click.echo(f"{endpoints.dagster}/runs/{run_id}")
    except RunFailed as error:
        raise click.ClickException(str(error)) from error


@main.command("eval")
@click.option("--collection", default="default", show_default=True, help="What is evaluated.")
@click.option(
    "--judged",
    "judged_files",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File of judged questions, TOML; repeatable.",
)
@click.option(
    "--kinds",
    default="headings,links,docstrings",
    show_default=True,
    help="Of queries made from the documents themselves; may be empty.",
)
@click.option(
    "--limit", default=300, show_default=True, type=click.IntRange(min=1), help="Of each kind."
)
@click.option("--json", "as_json", is_flag=True, help="For programs: a list of rows.")
@with_settings
def evaluate(
    settings: Settings,
    collection: str,
    judged_files: tuple[Path, ...],
    kinds: str,
    limit: int,
    as_json: bool,
) -> None:
    """Measure how well each stage of retrieval finds what it should.

    The figures are kept; a second line in a cell is the change since the last evaluation.
    """
    from rich.console import Console
    from rich.progress import Progress as ProgressBar
    from sqlalchemy.exc import SQLAlchemyError

    from knowledge.encoding.model_directory import ModelDirectoryError
    from knowledge.evaluation.evaluation import EvaluationRequest, NothingToEvaluate
    from knowledge.evaluation.judged import UnreadableJudgements
    from knowledge.evaluation.known_items import UnknownItemKind, parse_kinds
    from knowledge.evaluation.stages import DegradedSearch
    from sluice.evaluate import report_rows, run_evaluation
    from sluice.evaluation_table import evaluation_tables

    console = Console(stderr=True)
    try:
        names = filter(None, (name.strip() for name in kinds.split(",")))
        request = EvaluationRequest(collection, judged_files, parse_kinds(names), limit)
        with ProgressBar(console=console, transient=True) as bar:
            task = bar.add_task("reading the documents", total=None)

            def show_progress(done: int, total: int) -> None:
                bar.update(task, description="queries", completed=done, total=total)

            evaluation = asyncio.run(run_evaluation(settings, request, on_progress=show_progress))
    except (
        DegradedSearch,
        ModelDirectoryError,
        NothingToEvaluate,
        SQLAlchemyError,
        UnknownItemKind,
        UnreadableJudgements,
    ) as error:
        raise click.ClickException(str(error)) from error
    for each in evaluation.unresolved:
        click.echo(f"no such passage: {each}", err=True)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(report_rows(evaluation))))
    else:
        for table in evaluation_tables(evaluation):
            Console().print(table)


if __name__ == "__main__":
    main()
