"""The page of all settings, from the settings object."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from contracts import settings as module
from contracts.settings import BackendSettings, Settings
from sluice.reference.markdown import code, field_docs, one_line, table

_INTRODUCTION = """# Settings

A setting is read from the environment, else from `sluice.toml` beside the Makefile (or the file
that `SLUICE_CONFIG` names), else it has its default. `DATABASE_URL` and `NATS_URL` stand for
`SLUICE_POSTGRES_URL` and `SLUICE_NATS_URL`. A wrong value, or a key that is none of these, stops
the start and is named with what is allowed.
"""
_HEAD = ("key", "environment variable", "type, limits", "default", "")
_WORDS: dict[Any, str] = {
    str: "text",
    int: "integer",
    float: "number",
    bool: "`true` or `false`",
    SecretStr: "secret",
    Path: "path",
}
_LIMITS = (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"), ("min_length", "length ≥"))


def settings_page() -> str:
    """Return the page."""
    top, sections = [], []
    for name, field in Settings.model_fields.items():
        section = _section_of(field)
        if section is None:
            top.append(_row(name, f"SLUICE_{name.upper()}", field))
        elif section is not BackendSettings:
            sections.append(f"## `[{name}]`\n\n{_described(section)}{_rows(section, name)}")
    backends = f"## `[[backends]]`\n\n{_described(BackendSettings)}" + table(
        ("key", "type, limits", "default", ""),
        ((key, *rest) for key, _, *rest in _fields(BackendSettings, "")),
    )
    return "\n".join([_INTRODUCTION, table(_HEAD, top), backends, *sections])


def _rows(section: type[BaseModel], name: str) -> str:
    return table(_HEAD, _fields(section, f"SLUICE_{name.upper()}_"))


def _fields(section: type[BaseModel], prefix: str) -> Iterator[Sequence[str]]:
    for key, field in section.model_fields.items():
        yield _row(key, prefix + key.upper(), field, section)


def _row(
    key: str, variable: str, field: FieldInfo, section: type[BaseModel] = Settings
) -> Sequence[str]:
    said = field.description or field_docs(module).get((section.__name__, key), "")
    return (code(key), code(variable), _type(field), _default(field), one_line(said))


def _described(section: type[BaseModel]) -> str:
    return f"{one_line(section.__doc__)}\n\n" if section.__doc__ else ""


def _section_of(field: FieldInfo) -> type[BaseModel] | None:
    """Return the table of the settings that the field is, or whose list it is."""
    for kind in (field.annotation, *get_args(field.annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def _type(field: FieldInfo) -> str:
    limits = [
        f"{sign} {value}"
        for each in field.metadata
        for name, sign in _LIMITS
        if (value := getattr(each, name, None)) is not None
    ]
    return ", ".join([_name(field.annotation), *limits])


def _name(kind: Any) -> str:
    """Return a type in words, such as `list of text`."""
    if kind in _WORDS:
        return _WORDS[kind]
    arguments = [each for each in get_args(kind) if each not in (type(None), Ellipsis)]
    origin = get_origin(kind)
    if origin is None:
        return str(kind.__name__)
    if str(origin) == "typing.Literal":
        return ", ".join(f"`{each}`" for each in arguments)
    if origin is dict:
        return "table of text"
    if hasattr(kind, "__metadata__"):
        return _name(arguments[0])
    names = list(dict.fromkeys(map(_name, arguments)))
    return f"list of {names[0]}" if origin in (tuple, list) else " or ".join(names)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None or value is PydanticUndefined or value == ():
        return ""
    if isinstance(value, bool):
        return code(str(value).lower())
    if isinstance(value, (tuple, list)):
        return ", ".join(code(str(each)) for each in value)
    return code(str(value))
