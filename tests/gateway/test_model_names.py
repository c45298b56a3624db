"""Names, aliases and wildcards of a backend's settings."""

import pytest

from contracts.settings import BackendSettings
from gateway.backends.model_names import ModelNames


def names_of(*models: str, **aliases: str) -> ModelNames:
    return ModelNames(
        BackendSettings(
            name="a",
            kind="vllm",
            models=models,
            aliases={alias.replace("__", "*"): own for alias, own in aliases.items()},
        )
    )


def test_a_name_is_the_servers_own_and_an_alias_stands_for_one() -> None:
    names = names_of("qwen", fast="qwen-7b")

    assert names.exact == ["fast", "qwen"]
    assert names.find("qwen") == "qwen"
    assert names.find("fast") == "qwen-7b"
    assert names.find("qwen-7b") is None


@pytest.mark.parametrize(
    ("model", "own"),
    [
        ("claude-opus", "qwen"),
        ("org/a/b", "a/b"),
        ("org/", None),
        ("qwen*", "qwen*"),
        ("q[x]", None),
    ],
)
def test_what_a_wildcard_stands_for_goes_into_the_servers_name(model: str, own: str | None) -> None:
    aliases = {"claude-*": "qwen", "org/*": "*"}
    settings = BackendSettings(name="a", kind="vllm", models=("qwen*", "q.x]"), aliases=aliases)
    match = ModelNames(settings).match(model)

    assert (match.backend_model if match else None) == own


def test_the_closest_wildcard_wins_and_says_how_close_it_is() -> None:
    names = names_of("*", "qwen-*", "qwen-*-coder")

    matches = [names.match(model) for model in ("qwen-32b-coder", "qwen-7b", "llama")]
    assert [match.specificity for match in matches if match] == [11, 5, 0]


def test_a_name_without_end_matches_no_wildcard() -> None:
    assert names_of("*-*-*").match("-" * 100_000) is None


def test_the_server_is_asked_where_no_models_are_named() -> None:
    assert names_of(alias="own").asks_server
    assert not names_of("a").asks_server
    assert names_of("a*").lists_by_wildcard
