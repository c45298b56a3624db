"""Evaluations as pictures for Dagster's metadata."""

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from dagster import MetadataValue

from assets.pictures import embed_picture, new_picture
from knowledge.evaluation.evaluation import Evaluation
from knowledge.evaluation.history import PastFigure
from knowledge.evaluation.metrics import METRICS
from knowledge.evaluation.stages import QuerySetResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_stages(evaluation: Evaluation) -> MetadataValue:
    """Return bars of each metric by stage, a row of them for each query set."""
    picture = new_picture(rows=len(evaluation.results))
    axes = picture.subplots(len(evaluation.results), squeeze=False)[:, 0]
    for ax, result in zip(axes, evaluation.results, strict=True):
        _draw_bars(ax, result)
    axes[0].legend(ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.15), frameon=False)
    return embed_picture(picture, f"Stages of retrieval over {evaluation.corpus}")


def plot_history(history: Sequence[PastFigure], metric: str) -> MetadataValue:
    """Return lines of `metric` over the evaluations, a row of them for each query set.

    Args:
        history: oldest first.
    """
    by_set = sorted(history, key=lambda past: past.figure.query_set)
    groups = {
        name: list(group) for name, group in groupby(by_set, lambda past: past.figure.query_set)
    }
    picture = new_picture(rows=len(groups))
    axes = picture.subplots(len(groups), squeeze=False)[:, 0]
    for ax, (query_set, pasts) in zip(axes, groups.items(), strict=True):
        _draw_lines(ax, pasts)
        ax.set_title(f"{query_set}: {metric}", fontsize=9)
    axes[0].legend(ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.2), frameon=False)
    return embed_picture(picture, f"{metric} over the evaluations")


def _draw_bars(ax: "Axes", result: QuerySetResult) -> None:
    width = 0.8 / len(result.values)
    for number, stage in enumerate(result.values):
        estimates = [result.estimate(stage, metric) for metric in METRICS]
        ax.bar(
            [position + number * width for position in range(len(METRICS))],
            [estimate.value for estimate in estimates],
            width,
            label=stage,
            yerr=[
                [estimate.value - estimate.low for estimate in estimates],
                [estimate.high - estimate.value for estimate in estimates],
            ],
            error_kw={"linewidth": 0.8},
        )
    query_set = result.query_set
    ax.set_title(f"{query_set.name}: {len(query_set.queries)} queries", fontsize=9)
    ax.set_xticks([position + 0.4 - width / 2 for position in range(len(METRICS))], list(METRICS))
    ax.set_ylim(0, 1)


def _draw_lines(ax: "Axes", pasts: Sequence[PastFigure]) -> None:
    evaluations = list(dict.fromkeys(past.evaluation_id for past in pasts))
    stages = dict.fromkeys(past.figure.stage for past in pasts)
    for stage in stages:
        points = [past for past in pasts if past.figure.stage == stage]
        values = [point.figure.value for point in points]
        ax.errorbar(
            [evaluations.index(point.evaluation_id) for point in points],
            values,
            yerr=[
                [point.figure.value - point.figure.low for point in points],
                [point.figure.high - point.figure.value for point in points],
            ],
            label=stage,
            marker="o",
            linewidth=1,
        )
    labels = {
        past.evaluation_id: f"{past.evaluated_at:%m-%d %H:%M}\n"
        f"{past.conditions.embedding_model or 'no model'}"
        for past in pasts
    }
    ax.set_xticks(range(len(evaluations)), list(labels.values()), fontsize=6)
    ax.set_ylim(0, 1)
