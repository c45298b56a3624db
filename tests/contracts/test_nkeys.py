"""nkeys of users, as https://docs.nats.io writes them."""

import pytest

from contracts.nkeys import NotAnNkeySeed, UserNkey

SEED = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY"
PUBLIC_KEY = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4"
"""The pair that the documentation of nats-server shows."""
ACCOUNT_SEED = "SAANJIBNEKGCRUWJCPIWUXFBFJLR36FJTFKGBGKAT7AQXH2LVFNQWZJMQU"


def test_a_known_pair_is_read() -> None:
    key = UserNkey.from_seed(f"{SEED}\n")
    assert (key.public_key, key.seed) == (PUBLIC_KEY, SEED)


def test_new_keys_differ_and_are_read_back() -> None:
    keys = [UserNkey.new() for _ in range(3)]
    assert len({key.public_key for key in keys}) == 3
    for key in keys:
        assert UserNkey.from_seed(key.seed).public_key == key.public_key


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "length"),
        ("not a seed!", "base 32"),
        (SEED[:-8], "length"),
        (PUBLIC_KEY, "length"),
        (SEED[:10] + ("A" if SEED[10] != "A" else "B") + SEED[11:], "checksum"),
        (ACCOUNT_SEED, "checksum|user"),
    ],
)
def test_what_is_no_seed_of_a_user_is_refused_and_not_repeated(text: str, reason: str) -> None:
    with pytest.raises(NotAnNkeySeed, match=reason) as refusal:
        UserNkey.from_seed(text)
    assert not text or text not in str(refusal.value)


def test_a_key_does_not_show_its_seed() -> None:
    key = UserNkey.from_seed(SEED)
    assert SEED not in repr(key)
