"""Pictures for Dagster's metadata, which the UI shows as they are."""

import base64
import io
from typing import TYPE_CHECKING

from dagster import MetadataValue

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

_DOTS_PER_INCH = 80
_WIDTH_INCHES = 8.0


def new_picture(*, rows: int) -> "Picture":
    """Return an empty picture with room for `rows` plots below each other."""
    # Not pyplot: it keeps every picture in memory, and may look for a screen.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Picture

    picture = Picture(
        figsize=(_WIDTH_INCHES, 0.8 + 2.2 * rows), dpi=_DOTS_PER_INCH, layout="constrained"
    )
    FigureCanvasAgg(picture)
    return picture


def embed_picture(picture: "Picture", title: str) -> MetadataValue:
    """Return the picture as a PNG inside Markdown."""
    data = io.BytesIO()
    picture.savefig(data, format="png")
    encoded = base64.b64encode(data.getvalue()).decode()
    return MetadataValue.md(f"![{title}](data:image/png;base64,{encoded})")
