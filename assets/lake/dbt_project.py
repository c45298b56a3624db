"""The dbt project's models and tests as specs of assets and checks, read from its files.

dbt and dagster-dbt take two seconds to import, which every run of every job would pay. So the
names, descriptions and dependencies are read from the SQL and YAML here, and a test holds them to
what dagster-dbt makes of dbt's own manifest. Runs of the models import both.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from dagster import AssetCheckSpec, AssetKey, AssetSpec

from assets.chat_pair_dataset import daily

DBT_DIR = Path(__file__).parents[2] / "dbt"
_MODELS = DBT_DIR / "models"
_BY_DAY = "by_day"
"""Name of the folders of models that are built for days: the assets' partitions."""

_REFERENCE = re.compile(r"""\bref\(\s*['"](\w+)['"]\s*\)""")
_SOURCE = re.compile(r"""\bsource\(\s*['"](\w+)['"]\s*,\s*['"](\w+)['"]\s*\)""")
_MACRO_CALL = re.compile(r"\{\{\s*(\w+)\(")
_MACRO = re.compile(r"\{%-?\s*macro\s+(\w+)\(.*?%\}(.*?)\{%-?\s*endmacro\s*-?%\}", re.DOTALL)
_TESTED_MODEL = re.compile(r"""['"]ref['"]:\s*\{\s*['"]name['"]:\s*['"](\w+)['"]""")

_GROUPS = {"staging": "lake_models", "intermediate": "lake_models", "marts": "marts"}


class UnnamedTest(ValueError):
    """The YAML has a test whose name only dbt knows."""


@cache
def read_model_specs() -> tuple[AssetSpec, ...]:
    """Return the spec of each model, in the order of their files."""
    descriptions = {model["name"]: model["description"] for model in _read_properties()}
    macros = dict(_read_macros())
    files = _model_files()
    keys = _model_keys()
    return tuple(
        AssetSpec(
            key,
            deps=sorted(_dependencies(file.read_text(), macros, keys)),
            description=descriptions[file.stem],
            group_name=_GROUPS[key.path[0]],
            kinds={"dbt", "sql"},
            owners=["team:data-platform"],
            partitions_def=daily if file.parent.name == _BY_DAY else None,
            skippable=True,
        )
        for file, key in zip(files, keys.values(), strict=True)
    )


@cache
def read_check_specs() -> tuple[AssetCheckSpec, ...]:
    """Return the spec of each test, as a check of the model that it is of.

    Raises:
        UnnamedTest: a test has arguments and no name.
    """
    keys = _model_keys()
    return tuple(
        AssetCheckSpec(test, asset=keys[model], blocking=True, description="A test of dbt.")
        for test, model in (*_read_generic_tests(), *_read_singular_tests())
    )


def _model_files() -> list[Path]:
    return sorted(_MODELS.rglob("*.sql"))


def _model_keys() -> dict[str, AssetKey]:
    return {
        file.stem: AssetKey([file.relative_to(_MODELS).parts[0], file.stem])
        for file in _model_files()
    }


def _dependencies(
    sql: str, macros: Mapping[str, str], keys: Mapping[str, AssetKey]
) -> set[AssetKey]:
    called = "".join(macros.get(name, "") for name in _MACRO_CALL.findall(sql))
    text = sql + called
    return {keys[name] for name in _REFERENCE.findall(text)} | {
        AssetKey(source) for source in _SOURCE.findall(text)
    }


def _read_properties() -> Iterator[dict[str, Any]]:
    for file in sorted(_MODELS.rglob("_*.yml")):
        yield from yaml.safe_load(file.read_text())["models"]


def _read_generic_tests() -> Iterator[tuple[str, str]]:
    for model in _read_properties():
        for test in model.get("data_tests", ()):
            yield _test_name(test, model["name"]), model["name"]
        for column in model["columns"]:
            for test in column.get("data_tests", ()):
                yield _test_name(test, model["name"], column["name"]), model["name"]


def _test_name(test: str | dict[str, Any], *tested: str) -> str:
    """Return dbt's name of a test: the one it was given, or one of its kind and what it tests."""
    if isinstance(test, str):
        return "_".join([test, *tested])
    ((kind, properties),) = test.items()
    if "name" in properties:
        return str(properties["name"])
    if "arguments" in properties:
        raise UnnamedTest(f"give the test {kind} of {'.'.join(tested)} a `name`")
    return "_".join([kind, *tested])


def _read_singular_tests() -> Iterator[tuple[str, str]]:
    for file in sorted((DBT_DIR / "tests").glob("*.sql")):
        model = _TESTED_MODEL.search(file.read_text())
        if model is None:
            raise UnnamedTest(f"say in the `meta` of {file.name} which model it tests")
        yield file.stem, model[1]


def _read_macros() -> Iterator[tuple[str, str]]:
    for file in (DBT_DIR / "macros").glob("*.sql"):
        yield from _MACRO.findall(file.read_text())
