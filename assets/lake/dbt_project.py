"""The dbt project's models as asset specs, read from its files.

dbt and dagster-dbt take two seconds to import, which every run of every job would pay. So the
names, descriptions and dependencies are read from the SQL and YAML here, and a test holds them to
what dagster-dbt makes of dbt's own manifest. Runs of the models import both.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import yaml
from dagster import AssetKey, AssetSpec

DBT_DIR = Path(__file__).parents[2] / "dbt"

_REFERENCE = re.compile(r"""\bref\(\s*['"](\w+)['"]\s*\)""")
_SOURCE = re.compile(r"""\bsource\(\s*['"](\w+)['"]\s*,\s*['"](\w+)['"]\s*\)""")
_MACRO_CALL = re.compile(r"\{\{\s*(\w+)\(")
_MACRO = re.compile(r"\{%-?\s*macro\s+(\w+)\(.*?%\}(.*?)\{%-?\s*endmacro\s*-?%\}", re.DOTALL)

_GROUPS = {"staging": "lake_models", "intermediate": "lake_models", "marts": "marts"}


@cache
def read_model_specs() -> tuple[AssetSpec, ...]:
    """Return the spec of each model, in the order of their files."""
    descriptions = dict(_read_descriptions())
    macros = dict(_read_macros())
    files = sorted((DBT_DIR / "models").glob("*/*.sql"))
    keys = {file.stem: AssetKey([file.parent.name, file.stem]) for file in files}
    return tuple(
        AssetSpec(
            keys[file.stem],
            deps=sorted(_dependencies(file.read_text(), macros, keys)),
            description=descriptions[file.stem],
            group_name=_GROUPS[file.parent.name],
            kinds={"dbt", "sql"},
            owners=["team:data-platform"],
            skippable=True,
        )
        for file in files
    )


def _dependencies(
    sql: str, macros: Mapping[str, str], keys: Mapping[str, AssetKey]
) -> set[AssetKey]:
    called = "".join(macros.get(name, "") for name in _MACRO_CALL.findall(sql))
    text = sql + called
    return {keys[name] for name in _REFERENCE.findall(text)} | {
        AssetKey(source) for source in _SOURCE.findall(text)
    }


def _read_descriptions() -> Iterator[tuple[str, str]]:
    for file in (DBT_DIR / "models").glob("*/_*.yml"):
        for model in yaml.safe_load(file.read_text())["models"]:
            yield model["name"], model["description"]


def _read_macros() -> Iterator[tuple[str, str]]:
    for file in (DBT_DIR / "macros").glob("*.sql"):
        yield from _MACRO.findall(file.read_text())
