"""Ten thousand odd texts through `/embed`: each becomes a vector or is refused with a reason."""

import json
import random
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import numpy as np
import pytest
import pytest_asyncio

from knowledge.encoding.engine import EncoderEngine
from tests.encoder.conftest import RunningEncoder, running_encoder

SEED = 20_240_611
TEXT_COUNT = 10_000
TEXTS_OF_REQUEST = 500
LARGE_TEXTS = 6
LARGE_CHARACTERS = 1_000_000

pytestmark = pytest.mark.asyncio(loop_scope="module")

_ALPHABETS = (
    "abcdefghijklmnopqrstuvwxyz ABC .,;:!?'\"()-0123456789",
    "".join(map(chr, range(0x20))) + "\x7f\x80\x85\x9f",
    "\u00e9\u00df\u0153\u0142\u0307\u0301\u0300\u20dd \u0130\u0131",
    "\u0431\u0443\u043a\u0432\u0430 \u03b1\u03b2\u03b3\u03ce",
    "\u05d0\u05d1\u05d2\u0644\u0627 \u0645\u064e\u064b\u202e\u202d\u2066",
    "\u4e2d\u6587\u5b57\u3042\u30a2\ud55c\uad6d\u3000",
    "\U0001f600\U0001f468\u200d\U0001f469\ufe0f\U0001f3fd\U0001f1e9",
    "\u0e01\u0e33\u0915\u094d\u0937\u0bbf\u1780\u17d2",
    "\u200b\u200c\u200d\ufeff\u00ad\u2028\u2029\ufffd\ufffe\uffff\ue000\U0010ffff\u00a0",
    "[CLS][SEP][MASK][PAD][UNK]##<s></s>{}\\/\x00",
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def encoder(encoder_engine: EncoderEngine) -> AsyncIterator[RunningEncoder]:
    async with running_encoder(encoder_engine) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(encoder: RunningEncoder) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(encoder.url) as session:
        yield session


async def test_every_text_becomes_a_vector(
    client: aiohttp.ClientSession, encoder: RunningEncoder
) -> None:
    chance = random.Random(SEED)
    texts = _fuzzed_texts(chance)
    assert len(texts) == TEXT_COUNT
    for start in range(0, TEXT_COUNT, TEXTS_OF_REQUEST):
        kind = chance.choice(("query", "document"))
        part = texts[start : start + TEXTS_OF_REQUEST]

        status, vectors = await _embed(client, part, kind, is_ascii=chance.random() < 0.5)

        assert status == 200, vectors
        matrix = np.array(vectors, np.float32)
        assert matrix.shape == (len(part), encoder.engine.model.dimensions)
        assert np.allclose(np.linalg.norm(matrix, axis=1), 1, atol=1e-3)


async def test_unpaired_surrogates_are_refused_with_a_reason(
    client: aiohttp.ClientSession,
) -> None:
    chance = random.Random(SEED)
    for _ in range(200):
        text = _fuzzed_text(chance, 20)
        position = chance.randrange(len(text) + 1)
        surrogate = chr(chance.randrange(0xD800, 0xE000))
        broken = text[:position] + surrogate + text[position:]

        status, error = await _embed(client, [broken, "a text beside it"], "document")

        assert status == 422
        assert "surrogate" in error["error"]


async def test_bytes_that_are_no_utf8_are_refused(client: aiohttp.ClientSession) -> None:
    chance = random.Random(SEED)
    for _ in range(200):
        noise = bytes(chance.randrange(256) for _ in range(chance.randrange(1, 30)))
        body = b'{"prompt_name": "query", "inputs": "' + noise + b'"}'

        async with client.post("/embed", data=body) as reply:
            assert reply.status in (200, 422)
            answer = await reply.json()

        if reply.status == 422:
            assert answer["error"]


def _fuzzed_texts(chance: random.Random) -> list[str]:
    texts = [_fuzzed_text(chance, 20) for _ in range(TEXT_COUNT - LARGE_TEXTS - 30)]
    texts += [_fuzzed_text(chance, 3_000) for _ in range(30)]
    texts += [_large_text(chance, number) for number in range(LARGE_TEXTS)]
    chance.shuffle(texts)
    return texts


def _fuzzed_text(chance: random.Random, longest: int) -> str:
    """A text of 0 to `longest` characters, of one script or of several."""
    alphabet = chance.choice(_ALPHABETS)
    if chance.random() < 0.3:
        alphabet += "".join(chance.sample(_ALPHABETS, 2))
    text = "".join(chance.choices(alphabet, k=chance.randint(0, longest)))
    if chance.random() < 0.1:
        # Any character but the surrogates, which are none.
        text += "".join(chr(_any_code_point(chance)) for _ in range(chance.randint(1, 20)))
    return text


def _any_code_point(chance: random.Random) -> int:
    code_point = chance.randrange(0x110000 - 0x800)
    return code_point if code_point < 0xD800 else code_point + 0x800


def _large_text(chance: random.Random, number: int) -> str:
    alphabet = _ALPHABETS[number % len(_ALPHABETS)]
    if number == 0:
        return "a" * LARGE_CHARACTERS
    return "".join(chance.choices(alphabet, k=LARGE_CHARACTERS))


async def _embed(
    client: aiohttp.ClientSession, texts: list[str], kind: str, *, is_ascii: bool = True
) -> tuple[int, Any]:
    """Post `texts`; `is_ascii` writes everything else as `\\u` escapes."""
    body = json.dumps({"inputs": texts, "prompt_name": kind}, ensure_ascii=is_ascii)
    async with client.post(
        "/embed", data=body.encode(), headers={"content-type": "application/json"}
    ) as reply:
        return reply.status, await reply.json()
