"""What only a whole platform can tell: Dagster's figures, its tables, the run behind a request."""

import asyncio
import re
from datetime import UTC, datetime

import psycopg
import pytest

from contracts.metrics.definition import Exposer
from contracts.metrics.listing import metrics_of
from sluice.dagster_api import follow, launch
from tests.e2e.chat_load import ChatCase, send_all
from tests.support.dashboards import questions
from tests.support.exposition import check_exposition
from tests.support.stack import PlatformStack, wait_until

pytestmark = pytest.mark.stack

STORY = "story-of-one-request"
MAY_BE_EMPTY = {"Runs that failed"}


@pytest.fixture(scope="module")
def platform(shared_platform: PlatformStack) -> PlatformStack:
    """With one request stored, and its day moved to the lake."""
    addresses = shared_platform.endpoints
    case = ChatCase(STORY, [{"role": "user", "content": "How do I rotate the keys?"}])
    (reply,) = asyncio.run(send_all(addresses["gateway"], [case])).values()
    assert not isinstance(reply, Exception), reply
    wait_until(
        lambda: shared_platform.sluice("trace", STORY).returncode == 0,
        seconds=120,
        interval=2,
        what="the request is stored",
    )
    today = {"dagster/partition": datetime.now(UTC).date().isoformat()}
    follow(addresses["dagster"], launch(addresses["dagster"], "move_to_lake", {}, today))
    return shared_platform


def test_the_pipeline_tells_exactly_what_is_listed(platform: PlatformStack) -> None:
    result = platform.sluice("metrics", "--once")
    assert result.returncode == 0, result.stderr
    shown = check_exposition(result.stdout, Exposer.PIPELINE)
    assert shown == {each.name for each in metrics_of(Exposer.PIPELINE)}
    assert 'sluice_pipeline_source_up{source="dagster"} 1.0' in result.stdout


def test_a_request_leads_to_the_run_that_stored_it(platform: PlatformStack) -> None:
    result = platform.sluice("trace", STORY, "--json")
    assert '"what": "chat_history"' in result.stdout
    runs = re.findall(r'"run": "(\S+)/runs/([\w-]+)"', result.stdout)
    assert runs
    assert {url for url, _ in runs} == {platform.endpoints["dagster"]}


def test_dagsters_tables_answer_what_the_dashboards_ask(platform: PlatformStack) -> None:
    urls = platform.endpoints["postgres"]
    with psycopg.connect(urls) as connection:
        (moment,) = connection.execute(
            "SELECT extract(epoch FROM ingested_at)::text FROM chat_history"
            " WHERE correlation_id = %s",
            (STORY,),
        ).fetchone() or ("",)
    asked = [each for each in questions() if each.source_uid == "sluice-dagster"]
    assert len(asked) > 2
    with psycopg.connect(f"{urls.rpartition('/')[0]}/dagster") as connection:
        for question in asked:
            # Dagster keeps its moments in UTC without a zone, as Grafana's macros give them.
            sql = question.text.replace("${stored_at:csv}", moment)
            sql = sql.replace("$__timeFrom()", "timezone('utc', now() - interval '1 day')")
            sql = sql.replace("$__timeTo()", "timezone('utc', now())")
            rows = connection.execute(sql).fetchall()  # type: ignore[arg-type]
            assert rows or question.panel in MAY_BE_EMPTY, question.panel
