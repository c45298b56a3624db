"""Front matter: what a Markdown file says about itself above its text, in YAML or TOML."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from knowledge.text_cleaning import clean_line

_FRONT_MATTER = re.compile(
    r"\A(?P<fence>---|\+\+\+)[ \t]*\n(?P<body>.*?)^(?P=fence)[ \t]*(?:\n|\Z)",
    re.DOTALL | re.MULTILINE,
)
_TITLE = re.compile(r"^title[ \t]*[:=][ \t]*(?P<title>\S.*?)[ \t]*$", re.MULTILINE)
_QUOTED = re.compile(r"(?P<quote>[\"'])(?P<text>.*)(?P=quote)")
_LONGEST = 65_536


@dataclass(frozen=True)
class FrontMatter:
    """What was read of it; nothing where there is none."""

    title: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """The other keys. Values are strings, or lists and mappings of such."""
    warning: str | None = None
    """Why the attributes could not be read."""


class _PlainLoader(yaml.BaseLoader):
    """YAML whose every scalar is the string that was written: `1.10` is no number, `no` no boolean.

    Aliases are refused: a few nested ones make gigabytes.
    """

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not taken")
        return super().compose_node(parent, index)


def split_front_matter(text: str) -> tuple[FrontMatter, str]:
    """Return the front matter of `text` and what follows it.

    A title is found even where the rest is not well-formed.
    """
    found = _FRONT_MATTER.match(text)
    if found is None:
        return FrontMatter(), text
    body = found["body"]
    attributes: dict[str, Any] = {}
    warning = None
    try:
        attributes = _parse(body, is_toml=found["fence"] == "+++")
    except (yaml.YAMLError, tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        warning = f"its front matter was not read: {reason}"
    attributes.pop("title", None)
    return FrontMatter(_find_title(body), attributes, warning), text[found.end() :]


def _find_title(body: str) -> str | None:
    title = _TITLE.search(body)
    if title is None:
        return None
    quoted = _QUOTED.fullmatch(title["title"])
    return clean_line(quoted["text"] if quoted else title["title"]) or None


def _parse(body: str, *, is_toml: bool) -> dict[str, Any]:
    if len(body) > _LONGEST:
        raise ValueError(f"it has {len(body)} characters, more than {_LONGEST}")
    # The loader only makes strings, lists and mappings.
    content = tomllib.loads(body) if is_toml else yaml.load(body, _PlainLoader)  # noqa: S506
    if content in (None, ""):
        return {}
    if not isinstance(content, Mapping):
        raise ValueError("it is no mapping")  # noqa: TRY004 - of the file, not of an argument
    return {clean_line(str(key)): _plain(value) for key, value in content.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {clean_line(str(key)): _plain(each) for key, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(each) for each in value]
    if isinstance(value, bool):
        return str(value).lower()
    return clean_line(str(value))
