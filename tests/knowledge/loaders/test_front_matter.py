"""Front matter: the title, the attributes, and what is wrong with it."""

import pytest

from knowledge.loaders.front_matter import FrontMatter, split_front_matter


def test_yaml_values_stay_as_they_are_written() -> None:
    text = (
        "---\ntitle: Gates\nversion: 1.10\nlang: no\ndate: 2026-13-45\ntags: [a, 'b c']\n"
        "owner:\n  team: hydro\nempty:\n---\nBody.\n"
    )

    front_matter, body = split_front_matter(text)

    assert body == "Body.\n"
    assert front_matter == FrontMatter(
        title="Gates",
        attributes={
            "version": "1.10",
            "lang": "no",
            "date": "2026-13-45",
            "tags": ["a", "b c"],
            "owner": {"team": "hydro"},
            "empty": "",
        },
    )


def test_toml_values_become_strings() -> None:
    text = "+++\ntitle = 'Gates'\nlevel = 3\ndraft = false\ndate = 2026-01-02\n+++\nBody.\n"

    front_matter, _ = split_front_matter(text)

    assert front_matter.title == "Gates"
    assert front_matter.attributes == {"level": "3", "draft": "false", "date": "2026-01-02"}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("title: Gates\nkey: [unclosed\n", "while parsing a flow sequence"),
        ("title: Gates\na: &a [x]\nb: *a\n", "aliases are not taken"),
        ("title: Gates\nkey: " + "[" * 5000 + "\n", "recursion"),
        ("title: Gates\nkey: " + "x" * 70_000 + "\n", "more than 65536"),
    ],
)
def test_what_cannot_be_read_is_said_and_costs_neither_title_nor_text(
    body: str, reason: str
) -> None:
    front_matter, rest = split_front_matter(f"---\n{body}---\nBody.\n")

    assert (front_matter.title, dict(front_matter.attributes)) == ("Gates", {})
    assert front_matter.warning is not None
    assert reason in front_matter.warning
    assert rest == "Body.\n"


def test_text_without_front_matter_is_all_body() -> None:
    assert split_front_matter("# Gates\n") == (FrontMatter(), "# Gates\n")
