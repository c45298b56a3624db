"""What the encoder does, whichever interface it is asked over."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from contracts.encoder import MAX_MESSAGE_BYTES, MAX_TEXTS
from contracts.settings import EncoderSettings
from encoder.batching import TokenBatcher
from encoder.errors import InvalidRequest, NoInput, NotReady, RefusedText, TooLarge
from encoder.metrics import EncoderMetrics
from knowledge.encoding.engine import EncoderEngine
from knowledge.encoding.tokenization import TokenizedText, UnencodableText
from knowledge.late_interaction import compute_maxsim
from knowledge.ports import EmbeddingKind, EncoderModel, Encoding, FloatArray
from knowledge.token_vectors import pack_token_vectors

R = TypeVar("R")

_INLINE_CHARACTERS = 500
"""So much is tokenized in less time than handing it to another thread takes."""

_CHARACTERS_PER_TOKEN = 4
_SPECIAL_TOKENS = 3
_LOADING_RETRY_SECONDS = 5


class EncoderService:
    """Tokenizes, lets the engine run batches, and counts. For one event loop.

    Without a model it answers everything with NotReady until `attach` brings one.
    """

    def __init__(self, settings: EncoderSettings, metrics: EncoderMetrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._engine: EncoderEngine | None = None
        self._batcher: TokenBatcher | None = None
        self._side_work = ThreadPoolExecutor(1, thread_name_prefix="encoder-tokenizer")

    def attach(self, engine: EncoderEngine) -> None:
        """Serve with `engine` from now on."""
        self._batcher = TokenBatcher(
            engine,
            self._metrics,
            batch_tokens=self._settings.batch_tokens,
            queue_tokens=self._settings.queue_tokens,
        )
        self._engine = engine

    async def close(self) -> None:
        """Fail what waits, let what runs end, and end the threads."""
        if self._batcher is not None:
            await asyncio.to_thread(self._batcher.close)
        self._side_work.shutdown(cancel_futures=True)

    @property
    def model(self) -> EncoderModel:
        """The model that is served. Raises NotReady."""
        return self._require_engine().model

    async def embed(
        self,
        texts: Sequence[str],
        *,
        kind: EmbeddingKind,
        with_tokens: bool = False,
        is_truncating: bool = True,
    ) -> list[Encoding]:
        """Return one encoding per text, in order.

        Args:
            is_truncating: whether texts over the model's length are cut, or refused.

        Raises:
            EncoderError: no texts or too many, one is refused, the queue is full, the engine
                failed, or the model is not there.
        """
        engine = self._require_engine()
        _require_count(len(texts))

        def tokenize() -> list[TokenizedText]:
            if not is_truncating:
                self._require_short(engine, texts, kind)
            return engine.tokenize(texts, kind=kind)

        return await self._encode(
            tokenize, [len(text) for text in texts], kind=kind, with_tokens=with_tokens
        )

    async def embed_token_ids(
        self, token_ids: Sequence[Sequence[int]], *, kind: EmbeddingKind
    ) -> list[Encoding]:
        """Return one encoding per list of the model's own token IDs. Raises as `embed` does."""
        engine = self._require_engine()
        _require_count(len(token_ids))
        return await self._encode(
            lambda: engine.tokenize_ids(token_ids, kind=kind),
            [len(ids) * _CHARACTERS_PER_TOKEN for ids in token_ids],
            kind=kind,
            with_tokens=False,
        )

    async def rerank(self, query: str, texts: Sequence[str]) -> tuple[FloatArray, int]:
        """Return the MaxSim score of each text, -1 to 1, and the tokens that all this took.

        Raises:
            EncoderError: as of `embed`, or the model has no token vectors, or the query none.
        """
        if self.model.token_dimensions is None:
            raise InvalidRequest(f"The model {self.model.name!r} has no token vectors to rank by.")
        _require_count(len(texts))
        (query_encoding,) = await self.embed([query], kind="query", with_tokens=True)
        encodings = await self.embed(texts, kind="document", with_tokens=True)
        query_tokens = query_encoding.tokens
        if query_tokens is None or not len(query_tokens):
            raise InvalidRequest("The query has no token to compare by.", param="query")

        def score() -> FloatArray:
            matrices = (each.tokens for each in encodings if each.tokens is not None)
            packed = [pack_token_vectors(matrix, "float16") for matrix in matrices]
            return compute_maxsim(query_tokens, packed)

        scores = await self._aside(score)
        return scores, sum(each.token_count for each in (query_encoding, *encodings))

    async def _encode(
        self,
        tokenize: Callable[[], list[TokenizedText]],
        characters: Sequence[int],
        *,
        kind: EmbeddingKind,
        with_tokens: bool,
    ) -> list[Encoding]:
        batcher = self._batcher
        if batcher is None:
            raise _not_loaded()
        with batcher.reserve(kind, self._estimate_tokens(characters, kind)) as reservation:
            is_quick = sum(characters) <= _INLINE_CHARACTERS
            try:
                tokenized = tokenize() if is_quick else await self._aside(tokenize)
            except UnencodableText as error:
                raise RefusedText(str(error)) from error
            if with_tokens:
                self._require_reply_size(tokenized)
            tokens = sum(len(text) for text in tokenized)
            self._metrics.count_input(kind, texts=len(tokenized), tokens=tokens)
            future = reservation.submit(tokenized, with_tokens=with_tokens)
        return await asyncio.wrap_future(future)

    def _require_engine(self) -> EncoderEngine:
        if self._engine is None:
            raise _not_loaded()
        return self._engine

    def _require_short(
        self, engine: EncoderEngine, texts: Sequence[str], kind: EmbeddingKind
    ) -> None:
        longest = self._max_tokens(kind)
        for text in texts:
            count = engine.count_tokens(text, kind=kind)
            if count > longest:
                raise TooLarge(
                    f"A text has {count} tokens, more than the {longest} that the model takes as a"
                    f" {kind}, and is not to be truncated."
                )

    def _require_reply_size(self, tokenized: Sequence[TokenizedText]) -> None:
        token_bytes = 4 * (self.model.token_dimensions or 0)
        size = sum(len(text) for text in tokenized) * token_bytes
        if size + 4 * self.model.dimensions * len(tokenized) > MAX_MESSAGE_BYTES:
            raise TooLarge(
                f"The token vectors would take more than the {MAX_MESSAGE_BYTES} bytes of a reply."
                " Send fewer texts."
            )

    def _estimate_tokens(self, characters: Sequence[int], kind: EmbeddingKind) -> int:
        longest = self._max_tokens(kind)
        return sum(
            min(count // _CHARACTERS_PER_TOKEN + _SPECIAL_TOKENS, longest) for count in characters
        )

    def _max_tokens(self, kind: EmbeddingKind) -> int:
        model = self.model
        return model.max_query_tokens if kind == "query" else model.max_document_tokens

    async def _aside(self, work: Callable[[], R]) -> R:
        """Do what would hold up the event loop on the thread for that."""
        return await asyncio.get_running_loop().run_in_executor(self._side_work, work)


def _require_count(count: int) -> None:
    if count == 0:
        raise NoInput("The list of texts is empty.")
    if count > MAX_TEXTS:
        raise TooLarge(f"The request has {count} texts; at most {MAX_TEXTS} are allowed.")


def _not_loaded() -> NotReady:
    return NotReady("The model is being loaded.", retry_after_seconds=_LOADING_RETRY_SECONDS)
