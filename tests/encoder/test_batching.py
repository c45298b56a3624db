"""The queue before the engine and the thread that empties it."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future

import pytest

from encoder.batching import TokenBatcher
from encoder.errors import InferenceFailed, NotReady, Overloaded, TooLarge
from encoder.metrics import EncoderMetrics
from knowledge.encoding.tokenization import TokenizedText
from knowledge.ports import EmbeddingKind, Encoding
from tests.encoder.blocked_engine import BlockedEngine
from tests.support.hashing_encoder_engine import HashingEncoderEngine

QUEUE_TOKENS = 800
DOCUMENT_TOKENS = 700


@pytest.fixture
def engine() -> Iterator[BlockedEngine]:
    engine = BlockedEngine()
    yield engine
    engine.release()


@pytest.fixture
def batcher(engine: BlockedEngine) -> Iterator[TokenBatcher]:
    batcher = TokenBatcher(engine, EncoderMetrics(), batch_tokens=100, queue_tokens=QUEUE_TOKENS)
    yield batcher
    engine.release()
    batcher.close()


def _text(token_id: int, length: int = 10) -> TokenizedText:
    return TokenizedText([token_id] * length, [1] * length, [True] * length)


def _submit(
    batcher: TokenBatcher, kind: EmbeddingKind, *texts: TokenizedText, with_tokens: bool = False
) -> Future[list[Encoding]]:
    with batcher.reserve(kind, sum(len(text) for text in texts)) as reservation:
        return reservation.submit(texts, with_tokens=with_tokens)


def _occupy(batcher: TokenBatcher, engine: BlockedEngine) -> Future[list[Encoding]]:
    """Let the engine begin a batch that does not end."""
    future = _submit(batcher, "document", _text(1))
    assert engine.has_begun.wait(10)
    return future


def test_encodings_come_in_the_order_of_the_texts(
    batcher: TokenBatcher, engine: BlockedEngine
) -> None:
    engine.release()
    texts = [_text(token_id, length) for token_id, length in ((5, 90), (6, 2), (7, 40), (8, 3))]

    encodings = _submit(batcher, "document", *texts).result(10)

    assert [each.token_count for each in encodings] == [90, 2, 40, 3]
    alone = [_submit(batcher, "document", text).result(10)[0] for text in texts]
    assert [each.dense.tolist() for each in encodings] == [each.dense.tolist() for each in alone]


def test_queries_go_before_documents_that_came_first(
    batcher: TokenBatcher, engine: BlockedEngine
) -> None:
    _occupy(batcher, engine)
    documents = _submit(batcher, "document", *[_text(2)] * 40)
    query = _submit(batcher, "query", _text(3))
    engine.release(2)

    query.result(10)

    assert not documents.done()
    engine.release()
    documents.result(10)


def test_documents_are_run_however_many_queries_come(
    batcher: TokenBatcher, engine: BlockedEngine
) -> None:
    _occupy(batcher, engine)
    document = _submit(batcher, "document", _text(2))
    # 100 tokens each: they fill a batch.
    queries = [_submit(batcher, "query", *[_text(3)] * 10) for _ in range(7)]
    more = [_submit(batcher, "query", _text(9, 1)) for _ in range(20)]
    engine.release()
    for future in (document, *queries, *more):
        future.result(10)

    kinds = [{ids[0] for ids in batch} for batch in engine.texts_begun[1:]]
    assert {2} in kinds[:9]


def test_batches_hold_at_most_the_budget(batcher: TokenBatcher, engine: BlockedEngine) -> None:
    _occupy(batcher, engine)
    waiting = _submit(batcher, "document", *[_text(2, 12)] * 50)
    engine.release()
    waiting.result(10)

    sizes = [len(batch) * max(map(len, batch)) for batch in engine.texts_begun[1:]]
    assert max(sizes) <= 100
    assert len(sizes) == 7


def test_a_full_queue_refuses_and_says_when_to_come_again(
    batcher: TokenBatcher, engine: BlockedEngine
) -> None:
    _occupy(batcher, engine)
    waiting = _submit(batcher, "document", *[_text(2)] * (DOCUMENT_TOKENS // 10))

    with pytest.raises(Overloaded) as caught:
        batcher.reserve("document", 1)
    assert caught.value.retry_after_seconds is not None
    assert caught.value.retry_after_seconds >= 1

    with batcher.reserve("query", QUEUE_TOKENS - DOCUMENT_TOKENS), pytest.raises(Overloaded):
        batcher.reserve("query", 1)
    engine.release()
    waiting.result(10)
    with batcher.reserve("document", DOCUMENT_TOKENS):
        pass


def test_the_time_to_come_again_follows_the_measured_rate() -> None:
    engine = HashingEncoderEngine(seconds_per_batch=0.05)
    batcher = TokenBatcher(engine, EncoderMetrics(), batch_tokens=100, queue_tokens=100_000)
    # One token in 50 ms, hence 20 a second.
    _submit(batcher, "query", _text(1, 1)).result(10)

    with batcher.reserve("query", 100_000), pytest.raises(Overloaded) as caught:
        batcher.reserve("query", 200)

    assert caught.value.retry_after_seconds in range(10, 60)
    batcher.close()


def test_what_the_queue_could_never_hold_is_too_large(batcher: TokenBatcher) -> None:
    with pytest.raises(TooLarge, match=r"encoder\.queue_tokens"):
        batcher.reserve("document", DOCUMENT_TOKENS + 1)


def test_room_is_given_back_where_nothing_is_submitted(batcher: TokenBatcher) -> None:
    for _ in range(3):
        with pytest.raises(KeyError), batcher.reserve("document", DOCUMENT_TOKENS):
            raise KeyError


def test_cancelled_texts_leave_the_queue(batcher: TokenBatcher, engine: BlockedEngine) -> None:
    _occupy(batcher, engine)
    cancelled = _submit(batcher, "document", *[_text(2)] * (DOCUMENT_TOKENS // 10))

    assert cancelled.cancel()

    after = _submit(batcher, "document", *[_text(3)] * (DOCUMENT_TOKENS // 10))
    engine.release()
    after.result(10)
    assert not any(ids[0] == 2 for batch in engine.texts_begun for ids in batch)


def test_a_failing_batch_fails_its_own_requests_only(
    batcher: TokenBatcher, engine: BlockedEngine
) -> None:
    (poison,) = engine.tokenize(["poison"], kind="document")
    engine.failing_words = {"poison"}
    _occupy(batcher, engine)
    # Of like length in one batch; the long text of the second request is in another.
    failing = _submit(batcher, "document", poison)
    beside = _submit(batcher, "document", _text(5, 2), _text(5, 80))
    elsewhere = _submit(batcher, "document", _text(6, 90))
    engine.release()

    for future in (failing, beside):
        with pytest.raises(InferenceFailed):
            future.result(10)
    assert len(elsewhere.result(10)) == 1
    assert len(_submit(batcher, "document", _text(7)).result(10)) == 1
    with batcher.reserve("document", DOCUMENT_TOKENS):
        pass


def test_token_vectors_are_for_those_who_asked(
    batcher: TokenBatcher, engine: BlockedEngine
) -> None:
    _occupy(batcher, engine)
    with_tokens = _submit(batcher, "document", _text(2), with_tokens=True)
    without = _submit(batcher, "document", _text(3))
    engine.release()

    assert with_tokens.result(10)[0].tokens is not None
    assert without.result(10)[0].tokens is None
    assert len(engine.texts_begun) == 2


def test_closing_fails_what_waits_and_ends_the_thread(
    batcher: TokenBatcher, engine: BlockedEngine
) -> None:
    running = _occupy(batcher, engine)
    waiting = _submit(batcher, "document", _text(2))
    engine.release()
    batcher.close()

    assert len(running.result(10)) == 1
    with pytest.raises(NotReady):
        _submit(batcher, "query", _text(2))
    assert waiting.done()
    assert not [each for each in threading.enumerate() if each.name == "encoder-engine"]


def test_as_many_batches_run_at_once_as_the_engine_has_cores(engine: BlockedEngine) -> None:
    engine.concurrency = 2
    batcher = TokenBatcher(engine, EncoderMetrics(), batch_tokens=100, queue_tokens=QUEUE_TOKENS)
    texts = [_text(5, 90), _text(6, 80), _text(7, 70)]

    future = _submit(batcher, "document", *texts)
    deadline = time.monotonic() + 10
    while len(engine.texts_begun) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    assert not future.done()
    engine.release()

    encodings = future.result(10)
    batcher.close()
    assert [each.token_count for each in encodings] == [90, 80, 70]


@pytest.mark.parametrize(("can_pad", "padding"), [(True, 5), (False, 0)])
def test_padding_is_counted_where_the_engine_pads(can_pad: bool, padding: int) -> None:
    engine, metrics = HashingEncoderEngine(), EncoderMetrics()
    engine.can_pad = can_pad
    batcher = TokenBatcher(engine, metrics, batch_tokens=100, queue_tokens=QUEUE_TOKENS)

    _submit(batcher, "document", _text(5, 40), _text(6, 35)).result(10)

    batcher.close()
    assert engine.batches == [2]
    assert metrics.registry.get_sample_value("sluice_encoder_padding_tokens_total") == padding
