"""An evaluation as tables for a terminal."""

from collections.abc import Iterator

from rich.table import Table
from rich.text import Text

from knowledge.evaluation.evaluation import Evaluation
from knowledge.evaluation.history import Figure
from knowledge.evaluation.metrics import METRICS

_NOTICED_CHANGE = 0.0005


def evaluation_tables(evaluation: Evaluation) -> Iterator[Table | Text]:
    """Yield for each query set a table of its figures, and what the comparison of stages says."""
    figures = {figure.key: figure for figure in evaluation.figures}
    for result in evaluation.results:
        name = result.query_set.name
        title = f"{evaluation.corpus}, {name}: {len(result.query_set.queries)} queries"
        table = Table("stage", *METRICS, title=title)
        for stage in result.values:
            cells = (_cell(evaluation, figures[name, stage, metric]) for metric in METRICS)
            table.add_row(stage, *cells)
        yield table
        for comparison in result.comparisons:
            yield Text(str(comparison))


def _cell(evaluation: Evaluation, figure: Figure) -> str:
    half_width = max(figure.high - figure.value, figure.value - figure.low)
    cell = f"{figure.value:.3f} ±{half_width:.3f}"
    change = evaluation.change(figure)
    if change is not None and abs(change) >= _NOTICED_CHANGE:
        cell += f"\n{change:+.3f}"
    return cell
