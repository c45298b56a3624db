"""The command `sluice metrics`."""

import signal
from threading import Event

import click

from contracts.settings import Settings
from sluice.with_settings import with_settings


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=9599, show_default=True, type=click.IntRange(1, 65535))
@click.option("--dagster", "dagster_url", help="URL of Dagster's webserver; default: here.")
@click.option("--once", is_flag=True, help="Print the figures and end.")
@click.option("--reference", is_flag=True, help="Print what metrics there are, and end.")
@with_settings
def metrics(
    settings: Settings,
    host: str,
    port: int,
    dagster_url: str | None,
    once: bool,
    reference: bool,
) -> None:
    """Tell Prometheus how the pipeline is: lag, dead letters, runs, the lake.

    Serves `/metrics` until it is told to stop. The servers are asked at each scrape.
    """
    from prometheus_client import generate_latest, start_http_server

    from sluice.endpoints import find_endpoints
    from sluice.metrics_reference import reference_page
    from sluice.pipeline_metrics import PipelineCollector, metrics_registry

    if reference:
        click.echo(reference_page(), nl=False)
        return
    endpoints = find_endpoints(settings)
    registry = metrics_registry(
        PipelineCollector.connecting_to(
            nats=endpoints.broker,
            postgres=endpoints.postgres,
            dagster=dagster_url or endpoints.dagster,
        )
    )
    if once:
        click.echo(generate_latest(registry), nl=False)
        return
    stopping = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stopping.set())
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        raise click.ClickException(f"{host}:{port} cannot be listened on: {error}") from error
    click.echo(f"metrics on http://{host}:{port}/metrics")
    stopping.wait()
    server.shutdown()
    server.server_close()
    thread.join()
