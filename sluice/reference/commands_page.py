"""The page of the commands, from the parser."""

from collections.abc import Iterator, Sequence

import click

from sluice.cli import main
from sluice.reference.markdown import code, one_line, table

_INTRODUCTION = """# Commands

`sluice` is in `.venv/bin`. A command finds a running platform by itself, from the folder that it
was started in; `-h` after any of them shows this. A refusal is one line and exit code 1.
"""


def commands_page() -> str:
    """Return the page."""
    return "\n".join([_INTRODUCTION, *_sections(main, "sluice")])


def _sections(group: click.Group, path: str) -> Iterator[str]:
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group):
            yield from _sections(command, f"{path} {name}")
        else:
            yield _section(command, f"{path} {name}")


def _section(command: click.Command, path: str) -> str:
    context = click.Context(command, info_name=path)
    usage = command.get_usage(context).removeprefix("Usage: ").strip()
    parts = [f"## `{path}`\n", f"```\n{one_line(usage)}\n```\n", f"{_help(command)}\n"]
    options = [each for each in command.params if isinstance(each, click.Option)]
    parts.append(table(("option", ""), (_option(each, context) for each in options)))
    return "\n".join(parts)


def _help(command: click.Command) -> str:
    paragraphs = (command.help or "").split("\n\n")
    return "\n\n".join(one_line(each) for each in paragraphs)


def _option(option: click.Option, context: click.Context) -> Sequence[str]:
    names, said = option.get_help_record(context) or ("/".join(option.opts), option.help or "")
    return code(one_line(names)), one_line(said)
