"""What `sluice dev` prints: prefixed log lines, progress and tables."""

import sys
from collections.abc import Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text

_COLOURS = ("cyan", "green", "yellow", "blue", "magenta", "bright_cyan", "bright_green")
_NAME_WIDTH = 14


class DevConsole:
    """One writer for all processes' lines, so that they never mix."""

    def __init__(self) -> None:
        self._console = Console(file=sys.stdout, soft_wrap=True, highlight=False)
        self._colours: dict[str, str] = {}

    def log(self, name: str, line: str) -> None:
        """Print one line of a process, its name in front. Colours in the line are kept."""
        colour = self._colours.setdefault(name, _COLOURS[len(self._colours) % len(_COLOURS)])
        prefix = Text(f"{name:>{_NAME_WIDTH}} │ ", style=colour)
        body = Text.from_ansi(line) if self._console.is_terminal else Text(_without_ansi(line))
        self._console.print(prefix + body)

    def say(self, message: str) -> None:
        """Print a line of the platform itself."""
        self.log("sluice", message)

    def show_endpoints(self, rows: Mapping[str, str], example: str) -> None:
        """Print the table of addresses and one command to try."""
        table = Table(title="Sluice is running", title_justify="left", min_width=60)
        table.add_column("part")
        table.add_column("address", overflow="fold")
        for part, address in rows.items():
            table.add_row(part, address)
        self._console.print()
        self._console.print(table)
        self._console.print("\nTry it:\n")
        self._console.print(Text(example))
        self._console.print("\nCtrl-C stops everything; the data is kept.\n")


def _without_ansi(line: str) -> str:
    return Text.from_ansi(line).plain
