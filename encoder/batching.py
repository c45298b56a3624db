"""Puts the texts of all requests through the engine, in batches, on a thread per core."""

import math
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from types import TracebackType
from typing import Self

import structlog

from encoder.errors import EncoderError, InferenceFailed, NotReady, Overloaded, TooLarge
from encoder.lanes import Batch, Job, Lane, padded_tokens
from encoder.metrics import EncoderMetrics
from knowledge.encoding.engine import EncoderEngine
from knowledge.encoding.tokenization import TokenizedText
from knowledge.ports import EmbeddingKind, Encoding

_QUERY_BATCHES_IN_A_ROW = 8
"""While documents wait; then it is one batch of theirs."""

_QUERIES_ARE_ABOUT_SECONDS = 1.0
_SHORT_BATCH_TOKENS = 256
"""Most of a batch of documents while queries are about: one that comes in the middle of the batch
waits for its end."""

_QUERIES_QUEUE_SHARE = 8
"""This part of the queue is kept free of documents."""

_LONGEST_RETRY_SECONDS = 60
_RATE_MEMORY = 0.95
"""Of what was measured so far, the part that one more batch leaves of its weight."""

_log = structlog.get_logger("encoder.batching")


class TokenBatcher:
    """A bounded queue of texts before the engine, and the threads that empty it.

    Queries go first. All methods may be called from any thread.
    """

    def __init__(
        self,
        engine: EncoderEngine,
        metrics: EncoderMetrics,
        *,
        batch_tokens: int,
        queue_tokens: int,
    ) -> None:
        """
        Args:
            batch_tokens: most tokens of one batch, padding included.
            queue_tokens: most tokens that may wait; of documents, seven eighths of it.
        """
        self._engine = engine
        self._metrics = metrics
        self._batch_tokens = batch_tokens
        self._limits: dict[EmbeddingKind, int] = {
            "query": queue_tokens,
            "document": queue_tokens - queue_tokens // _QUERIES_QUEUE_SHARE,
        }
        self._lanes: dict[EmbeddingKind, Lane] = {"query": Lane(), "document": Lane()}
        self._change = threading.Condition()
        self._waiting_tokens = 0
        self._is_closing = False
        self._query_batches = 0
        self._last_query = -math.inf
        self._measured_tokens = 0.0
        self._measured_seconds = 0.0
        self._threads = [
            threading.Thread(target=self._work, name=f"encoder-engine-{number}", daemon=True)
            for number in range(engine.concurrency)
        ]
        for thread in self._threads:
            thread.start()
        metrics.watch_queue(lambda: self._waiting_tokens)

    def reserve(self, kind: EmbeddingKind, tokens: int) -> "Reservation":
        """Keep room for about `tokens`, before the work of finding out how many they are.

        Raises:
            TooLarge: the queue would be too short for them if it were empty.
            Overloaded: they do not fit now.
            NotReady: the batcher is closed.
        """
        limit = self._limits[kind]
        if tokens > limit:
            raise TooLarge(
                f"The request has about {tokens} tokens, more than the {limit} that may wait"
                " (setting encoder.queue_tokens). Send fewer texts."
            )
        with self._change:
            self._require_open()
            missing = self._waiting_tokens + tokens - limit
            if missing <= 0:
                self._waiting_tokens += tokens
                return Reservation(self, kind, tokens)
            seconds = self._seconds_for(missing)
        self._metrics.count_refusal()
        raise Overloaded(
            f"The queue is full: {limit} tokens may wait (setting encoder.queue_tokens)."
            f" Try again in {seconds} s.",
            retry_after_seconds=seconds,
        )

    def close(self) -> None:
        """Fail what waits with NotReady, let the batches that run end, and end the threads."""
        with self._change:
            self._is_closing = True
            jobs = [job for lane in self._lanes.values() for job in lane.clear()]
            self._waiting_tokens = 0
            self._change.notify_all()
        for job in jobs:
            _fail(job, NotReady("The encoder is shutting down."))
        for thread in self._threads:
            thread.join()

    def _require_open(self) -> None:
        if self._is_closing:
            raise NotReady("The encoder is shutting down.")

    def _seconds_for(self, tokens: int) -> int:
        """Return how long the engine takes for `tokens`, as far as it has been measured."""
        if self._measured_tokens == 0:
            return 1
        seconds_of_one = tokens * self._measured_seconds / self._measured_tokens
        seconds = seconds_of_one / len(self._threads)
        return min(max(math.ceil(seconds), 1), _LONGEST_RETRY_SECONDS)

    def _release(self, tokens: int) -> None:
        with self._change:
            self._waiting_tokens -= tokens

    def _enter(self, kind: EmbeddingKind, job: Job, reserved_tokens: int) -> None:
        with self._change:
            self._require_open()
            self._waiting_tokens += job.waiting_tokens - reserved_tokens
            self._lanes[kind].add(job)
            if kind == "query":
                self._last_query = time.monotonic()
            # The texts may be enough for several batches, a query is one.
            self._change.notify(len(job.texts))
        job.future.add_done_callback(lambda _future: self._drop(job))

    def _drop(self, job: Job) -> None:
        """Forget what still waits of a job that was cancelled or has failed."""
        with self._change:
            for lane in self._lanes.values():
                self._waiting_tokens -= lane.drop(job)

    def _work(self) -> None:
        while (batch := self._next_batch()) is not None:
            self._run(batch)

    def _next_batch(self) -> Batch | None:
        """Wait for texts and return the next batch of them, or None at the end."""
        queries, documents = self._lanes["query"], self._lanes["document"]
        with self._change:
            while not (queries or documents or self._is_closing):
                self._change.wait()
            if self._is_closing:
                return None
            are_queries_next = bool(queries) and not (
                documents and self._query_batches >= _QUERY_BATCHES_IN_A_ROW
            )
            budget = self._batch_tokens
            if are_queries_next:
                self._query_batches += 1
                batch = queries.next_batch(budget)
            else:
                self._query_batches = 0
                if time.monotonic() - self._last_query < _QUERIES_ARE_ABOUT_SECONDS:
                    budget = min(budget, _SHORT_BATCH_TOKENS)
                batch = documents.next_batch(budget)
            self._waiting_tokens -= _tokens(batch)
            return batch

    def _run(self, batch: Batch) -> None:
        try:
            self._infer(batch)
        except Exception:  # noqa: BLE001 - logged, and told to the callers
            _log.exception("the engine failed", texts=len(batch), tokens=_tokens(batch))
            self._metrics.count_failure()
            for job in {job: None for job, _ in batch}:
                _fail(job, InferenceFailed("The model failed on a batch with a text of yours."))

    def _infer(self, batch: Batch) -> None:
        texts = [job.texts[position] for job, position in batch]
        started = time.perf_counter()
        encodings = self._engine.run(texts, with_tokens=any(job.with_tokens for job, _ in batch))
        seconds = time.perf_counter() - started
        tokens = _tokens(batch)
        with self._change:
            self._measured_tokens = self._measured_tokens * _RATE_MEMORY + tokens
            self._measured_seconds = self._measured_seconds * _RATE_MEMORY + seconds
        self._metrics.observe_batch(
            texts=len(batch),
            tokens=tokens,
            padded_tokens=padded_tokens(batch) if self._engine.can_pad else tokens,
            duration_seconds=seconds,
        )
        complete: list[Job] = []
        with self._change:
            for (job, position), encoding in zip(batch, encodings, strict=True):
                if job.take(position, encoding):
                    complete.append(job)
        for job in complete:
            # The caller may have gone away at this moment.
            with suppress(InvalidStateError):
                job.future.set_result(job.encodings)


class Reservation:
    """Room in the queue, for one submission or to be given back at the end of the block."""

    def __init__(self, batcher: TokenBatcher, kind: EmbeddingKind, tokens: int) -> None:
        self._batcher = batcher
        self._kind = kind
        self._tokens = tokens

    def submit(
        self, texts: Sequence[TokenizedText], *, with_tokens: bool
    ) -> Future[list[Encoding]]:
        """Let `texts`, at least one, wait in the room, and return the future of their encodings.

        Cancelling it takes those out of the queue that have not been run. It fails with
        InferenceFailed, or NotReady where the batcher is closed before their turn.

        Raises:
            NotReady: the batcher is closed.
        """
        job = Job(texts, with_tokens=with_tokens)
        tokens, self._tokens = self._tokens, 0
        self._batcher._enter(self._kind, job, tokens)
        return job.future

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _exception_type: type[BaseException] | None,
        _exception: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._batcher._release(self._tokens)
        self._tokens = 0


def _tokens(batch: Batch) -> int:
    return sum(len(job.texts[position]) for job, position in batch)


def _fail(job: Job, error: EncoderError) -> None:
    with suppress(InvalidStateError):
        job.future.set_exception(error)
