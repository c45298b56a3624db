"""A page of plots of the marts, for a person to look at."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dagster import AssetKey, MaterializeResult, MetadataValue, TableRecord, asset

from assets.lake.dbt_command import hold_marts, marts_file
from assets.pictures import embed_picture, new_picture
from contracts.settings import load_settings
from resources.lake import LakeResource
from resources.postgres import PostgresResource
from resources.trino import TrinoResource

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from matplotlib.axes import Axes

REPORTED_MARTS = (
    "model_usage_hourly",
    "model_usage_daily",
    "retrieval_quality_daily",
    "retrieval_score_distribution",
    "tool_call_daily",
    "stage_latency_daily",
    "knowledge_gaps",
)
_DAYS = 30
_QUESTIONS = 20

Rows = Sequence[tuple[Any, ...]]


@asset(
    key="lake_report",
    deps=[AssetKey(["marts", mart]) for mart in REPORTED_MARTS],
    group_name="marts",
    description=(
        "Plots of the marts: usage and latency by model, how well retrieval serves, tools, the"
        " gateway's stages, and the questions that the documents do not answer."
    ),
    kinds={"duckdb"},
    owners=["team:data-platform"],
)
def lake_report(
    lake: LakeResource, trino: TrinoResource, postgres: PostgresResource
) -> MaterializeResult[Any]:
    """Read the marts and draw them."""
    with hold_marts(load_settings(), postgres), _open_marts(lake, trino) as marts:
        return MaterializeResult(
            metadata={
                "usage_by_hour": _plot_hours(marts),
                "usage_by_day": _plot_usage(marts),
                "retrieval": _plot_retrieval(marts),
                "scores": _plot_scores(marts),
                "tools_and_stages": _plot_tools_and_stages(marts),
                "knowledge_gaps": _list_gaps(marts),
            }
        )


@contextmanager
def _open_marts(lake: LakeResource, trino: TrinoResource) -> "Iterator[DuckDBPyConnection]":
    """Yield DuckDB with the marts: its own file, or what Trino answers."""
    import duckdb

    if lake.is_embedded:
        with duckdb.connect(str(marts_file(load_settings())), read_only=True) as marts:
            yield marts
        return
    with duckdb.connect() as marts:
        marts.execute("CREATE SCHEMA marts")
        for mart in REPORTED_MARTS:
            answer = trino.query(f"SELECT * FROM marts.{mart}")  # noqa: S608  # our own names
            marts.from_arrow(answer).create(f"marts.{mart}")
        yield marts


def _query(marts: "DuckDBPyConnection", statement: str, *values: int) -> Rows:
    rows: Rows = marts.execute(statement, values or None).fetchall()
    return rows


def _plot_hours(marts: "DuckDBPyConnection") -> MetadataValue:
    rows = _query(
        marts,
        "SELECT hour, model, sum(call_count), max(duration_p95_seconds)"
        " FROM marts.model_usage_hourly"
        " WHERE hour > (SELECT max(hour) FROM marts.model_usage_hourly) - INTERVAL 48 HOUR"
        " GROUP BY hour, model ORDER BY hour",
    )
    return _plot_by_model("The last 48 hours", rows, ["calls", "p95, s"])


def _plot_usage(marts: "DuckDBPyConnection") -> MetadataValue:
    rows = _query(
        marts,
        "SELECT day, model, sum(call_count), max(duration_p95_seconds),"
        " max(first_token_p50_seconds), sum(completion_tokens) FROM marts.model_usage_daily"
        " WHERE day > (SELECT max(day) FROM marts.model_usage_daily) - ?::INTEGER"
        " GROUP BY day, model ORDER BY day",
        _DAYS,
    )
    labels = ["calls", "p95, s", "first token p50, s", "completion tokens"]
    return _plot_by_model(f"The last {_DAYS} days", rows, labels)


def _plot_by_model(title: str, rows: Rows, labels: Sequence[str]) -> MetadataValue:
    picture = new_picture(rows=len(labels))
    axes = picture.subplots(len(labels), sharex=True)
    for model in dict.fromkeys(row[1] for row in rows):
        of_model = [row for row in rows if row[1] == model]
        for number, ax in enumerate(axes):
            ax.plot(
                [row[0] for row in of_model],
                [row[2 + number] for row in of_model],
                marker="o",
                label=model,
            )
    for ax, label in zip(axes, labels, strict=True):
        ax.set_ylabel(label)
        ax.set_ylim(bottom=0)
    if rows:
        axes[0].legend(fontsize=7)
    axes[-1].tick_params(axis="x", labelrotation=20)
    return embed_picture(picture, title)


def _plot_retrieval(marts: "DuckDBPyConnection") -> MetadataValue:
    rows = _query(
        marts,
        "SELECT day, sum(search_count), sum(hit_search_count), sum(injected_search_count),"
        " sum(answered_search_count) FROM marts.retrieval_quality_daily"
        " WHERE day > (SELECT max(day) FROM marts.retrieval_quality_daily) - ?::INTEGER"
        " GROUP BY day ORDER BY day",
        _DAYS,
    )
    picture = new_picture(rows=2)
    ax = picture.subplots()
    for number, label in enumerate(("searched", "found", "injected", "answered"), start=1):
        ax.plot([row[0] for row in rows], [row[number] for row in rows], marker="o", label=label)
    ax.set_ylabel("searches")
    ax.set_ylim(bottom=0)
    ax.legend(fontsize=7)
    ax.tick_params(axis="x", labelrotation=20)
    return embed_picture(picture, "What searches found, and what became of it")


def _plot_scores(marts: "DuckDBPyConnection") -> MetadataValue:
    rows = _query(
        marts,
        "SELECT score_kind, bucket / 20, sum(candidate_count)"
        " FROM marts.retrieval_score_distribution GROUP BY score_kind, bucket ORDER BY bucket",
    )
    kinds = sorted({row[0] for row in rows})
    picture = new_picture(rows=max(1, len(kinds)))
    axes = picture.subplots(max(1, len(kinds)), squeeze=False)[:, 0]
    for ax, kind in zip(axes, kinds, strict=False):
        of_kind = [row for row in rows if row[0] == kind]
        ax.bar([row[1] for row in of_kind], [row[2] for row in of_kind], 0.045, align="edge")
        ax.set_title(f"{kind} score of candidates", fontsize=9)
    return embed_picture(picture, "Scores of candidates")


def _plot_tools_and_stages(marts: "DuckDBPyConnection") -> MetadataValue:
    tools = _query(
        marts,
        "SELECT function_name, sum(call_count), sum(invalid_argument_count)"
        " FROM marts.tool_call_daily GROUP BY function_name ORDER BY 2 DESC LIMIT 12",
    )
    stages = _query(
        marts,
        "SELECT stage, max(duration_p50_seconds), max(duration_p95_seconds)"
        " FROM marts.stage_latency_daily"
        " WHERE day > (SELECT max(day) FROM marts.stage_latency_daily) - ?::INTEGER"
        " GROUP BY stage ORDER BY stage",
        _DAYS,
    )
    picture = new_picture(rows=2)
    upper, lower = picture.subplots(2)
    _draw_pairs(upper, tools, ("calls", "with invalid arguments"))
    _draw_pairs(lower, stages, ("p50, s", "p95, s"))
    return embed_picture(picture, "Tools, and stages of the gateway")


def _draw_pairs(ax: "Axes", rows: Rows, labels: tuple[str, str]) -> None:
    for number, label in enumerate(labels):
        ax.bar(
            [place + 0.4 * number for place in range(len(rows))],
            [row[1 + number] for row in rows],
            0.4,
            label=label,
        )
    ax.set_xticks([place + 0.2 for place in range(len(rows))], [row[0] for row in rows])
    ax.legend(fontsize=7)


def _list_gaps(marts: "DuckDBPyConnection") -> MetadataValue:
    rows = _query(
        marts,
        "SELECT question, collection, asked_count, best_passage_score FROM marts.knowledge_gaps"
        " ORDER BY asked_count DESC, question LIMIT ?",
        _QUESTIONS,
    )
    if not rows:
        return MetadataValue.text("none")
    return MetadataValue.table(
        [
            TableRecord(
                {
                    "question": question[:200],
                    "collection": collection,
                    "asked": asked,
                    "best_score": "" if score is None else round(score, 3),
                }
            )
            for question, collection, asked, score in rows
        ]
    )
