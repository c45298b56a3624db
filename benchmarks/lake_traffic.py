"""Synthetic chat traffic with the sizes of real traffic, as rows of the event tables.

Turns and lengths follow LMSYS-Chat-1M (https://arxiv.org/abs/2309.11998, table 1): 2.0 turns a
conversation, 69.5 tokens a prompt and 214.5 an answer on average; a token is taken as four
characters, lengths are log-normal. As a client does, each turn sends the conversation before it
again. What the paper does not say is ours: three calls of five search for passages, one of four
offers tools, one of eighty fails. Words are drawn by Zipf's law from an invented vocabulary, so
that the text compresses about as well as prose.

A day is made once; the days after it have its sessions again, with other IDs and moments: what is
measured does not know one day's text from another's. The same seed gives the same rows.
"""

import json
import random
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from hashlib import sha256
from itertools import accumulate
from math import log
from typing import NamedTuple

_MICROSECOND = timedelta(microseconds=1)
_DAY_SECONDS = 86_400.0
_VOCABULARY = 20_000
_SENTENCES = 30_000
_CHARACTERS_PER_TOKEN = 4
_MEAN_TURNS = 2.0
_MEAN_PROMPT = 69.5 * _CHARACTERS_PER_TOKEN
_MEAN_ANSWER = 214.5 * _CHARACTERS_PER_TOKEN
_SPREAD = 1.0
"""Standard deviation of the logarithm of a text's length."""
_LONGEST = 60_000
_MODELS = (("qwen3-coder:30b", "vllm", 52), ("llama3.3:70b", "vllm", 24), ("phi4", "lmstudio", 24))
_DIALECTS = (("openai.chat", 6), ("anthropic.messages", 3), ("openai.responses", 1))
_KEYS = tuple(f"team-{number}" for number in range(24))
_FUNCTIONS = ("read_file", "search", "run_tests", "edit_file", "list_directory", "fetch_page")
_TOOLS = json.dumps(
    [
        {
            "type": "function",
            "function": {
                "name": name,
                "description": f"The tool {name.replace('_', ' ')} of the editor.",
                "parameters": {"type": "object", "properties": {"path": {"type": "string"}}},
            },
        }
        for name in _FUNCTIONS
    ]
)
_COLUMNS = {
    "chat_history": "dialect, model, backend, status, is_streaming, messages, answer, tools,"
    " parameters, finish_reason, error, prompt_tokens, completion_tokens, total_tokens,"
    " is_usage_estimate, started_at, duration_seconds, first_token_seconds, source_chunk_ids",
    "chat_pairs": "model, backend, is_complete, messages, prompt, response, tools, content_sha256,"
    " finish_reason, prompt_tokens, completion_tokens, total_tokens",
    "embedding_events": "model, kind, input_count, dimensions, duration_seconds, prompt_tokens",
    "retrieve_events": "query, collection, method, top_k, hit_count, candidates, duration_seconds,"
    " status, embedding_model",
    "compose_events": "query, model, chunk_ids, dropped_chunk_ids, token_count, token_budget,"
    " duration_seconds",
    "flow_lineage": "dialect, model, backend, status, started_at, duration_seconds, stages,"
    " source_chunk_ids, event_ids",
    "tool_calls": "tool_call_id, function_name, arguments, position, model, backend",
}
_ENVELOPE = (
    "event_id, correlation_id, occurred_at, schema_version, api_key_name, content_capture,"
    " stream_sequence"
)
COPY_STATEMENTS = {
    table: f"COPY {table} ({_ENVELOPE}, {columns}) FROM STDIN"
    for table, columns in _COLUMNS.items()
}
"""Table → the statement that takes its lines."""


class EventLine(NamedTuple):
    """An event as a line of COPY, without the ID that stands first."""

    table: str
    milliseconds: int
    """Of its moment since 1970."""
    random_part: bytes
    """The last 20 of the 32 digits of its UUIDv7."""
    line: bytes


class ChatTraffic:
    """A stream of sessions, one after the other, from a seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._prose = _Prose(_make_sentences(self._random))
        self._sentence_length = len(self._prose.plain) / _SENTENCES
        self._chunk_ids = [f"{self._random.getrandbits(128):032x}" for _ in range(5_000)]
        self._sequence = 0

    def day(self, day: date, event_count: int) -> Iterator[EventLine]:
        """Yield about `event_count` events of `day`."""
        start = datetime.combine(day, time(), UTC)
        written = 0
        while written < event_count:
            # Sessions come in the order of their first calls, as the pipeline would store them.
            elapsed = _DAY_SECONDS * written / event_count
            for line in self._session(start, elapsed):
                written += 1
                yield line

    def _session(self, start: datetime, elapsed: float) -> Iterator[EventLine]:
        draw = self._random
        model, backend, _ = draw.choices(_MODELS, [each[2] for each in _MODELS])[0]
        ((dialect, _),) = draw.choices(_DIALECTS, [each[1] for each in _DIALECTS])
        key = draw.choice(_KEYS)
        has_tools, searches = draw.random() < 0.25, draw.random() < 0.6
        conversation = [
            f'{{"role": "system", "content": "You serve {key}. {self.text(200).json}"}}'
        ]
        while True:
            prompt = self.text(_MEAN_PROMPT)
            conversation.append(f'{{"role": "user", "content": "{prompt.json}"}}')
            answer = self.text(_MEAN_ANSWER)
            elapsed = min(elapsed, _DAY_SECONDS - 1.0)
            call = _Call(self, start + timedelta(seconds=elapsed), model, backend, dialect, key)
            yield from call.events(conversation, prompt, answer, has_tools, searches)
            conversation.append(f'{{"role": "assistant", "content": "{answer.json}"}}')
            if draw.random() < 1 / _MEAN_TURNS:
                return
            elapsed += draw.expovariate(1 / 60)

    def text(self, mean_characters: float) -> "_Text":
        """Return sentences of a length about `mean_characters`."""
        draw = self._random
        wanted = min(draw.lognormvariate(log(mean_characters) - _SPREAD**2 / 2, _SPREAD), _LONGEST)
        sentence_count = 1 + int(wanted / self._sentence_length)
        first = draw.randrange(_SENTENCES - sentence_count)
        return self._prose.part(first, first + sentence_count)

    def next_sequence(self) -> int:
        self._sequence += 1
        return self._sequence

    def chunk_ids(self, count: int) -> list[str]:
        return self._random.sample(self._chunk_ids, count)

    @property
    def draw(self) -> random.Random:
        return self._random


class DayOfTraffic:
    """A day's events, which can be had for any day."""

    def __init__(self, day: date, events: Iterable[EventLine]) -> None:
        self._day = day
        self._by_table: dict[str, list[EventLine]] = {table: [] for table in COPY_STATEMENTS}
        for event in events:
            self._by_table[event.table].append(event)

    def row_counts(self) -> dict[str, int]:
        return {table: len(events) for table, events in self._by_table.items()}

    def lines(self, table: str, day: date) -> Iterator[bytes]:
        """Yield the lines of `table` as they are on `day`."""
        shift = int((day - self._day).total_seconds() * 1000)
        old, new = f"{self._day}T".encode(), f"{day}T".encode()
        for event in self._by_table[table]:
            identifier = b"%012x%b" % (event.milliseconds + shift, event.random_part)
            yield b"%b\t%b" % (identifier, event.line.replace(old, new))


class _Text(NamedTuple):
    """A text as it stands in JSON, and as it is: both as COPY reads them."""

    json: str
    plain: str


class _Prose:
    """Sentences of which any run can be had at once."""

    def __init__(self, sentences: Sequence[str]) -> None:
        as_json = [json.dumps(each)[1:-1].replace("\\", "\\\\") for each in sentences]
        as_plain = [each.replace("\n", "\\n") for each in sentences]
        self._json, self._json_starts = "".join(as_json), _starts(as_json)
        self.plain, self._plain_starts = "".join(as_plain), _starts(as_plain)

    def part(self, first: int, end: int) -> _Text:
        return _Text(
            self._json[self._json_starts[first] : self._json_starts[end]],
            self.plain[self._plain_starts[first] : self._plain_starts[end]],
        )


def _starts(parts: Sequence[str]) -> list[int]:
    return list(accumulate(map(len, parts), initial=0))


class _Call:
    """The events of one call of a model."""

    def __init__(
        self,
        traffic: ChatTraffic,
        moment: datetime,
        model: str,
        backend: str,
        dialect: str,
        key: str,
    ) -> None:
        self._traffic = traffic
        self._draw = traffic.draw
        self._moment = moment
        self._model, self._backend, self._dialect, self._key = model, backend, dialect, key
        self._correlation_id = f"{moment:%Y-%m-%dT%H:%M:%S.%f}-{self._draw.getrandbits(32):08x}"

    def events(
        self, conversation: list[str], prompt: _Text, answer: _Text, has_tools: bool, searches: bool
    ) -> Iterator[EventLine]:
        draw = self._draw
        chunk_ids: list[str] = []
        if searches:
            # Half an escape must not stand at the end.
            query = prompt.plain[:300].rstrip("\\")
            yield self._embedding()
            chunk_ids = self._traffic.chunk_ids(draw.choice((0, 5, 8, 10)))
            yield self._retrieval(query, chunk_ids)
            if chunk_ids:
                yield self._composition(query, chunk_ids[:4])
        failed = draw.random() < 1 / 80
        messages = f"[{', '.join(conversation)}]"
        calls_tool = has_tools and not failed and draw.random() < 0.7
        tokens = (
            len(messages) // _CHARACTERS_PER_TOKEN,
            0 if failed else len(answer.plain) // _CHARACTERS_PER_TOKEN,
        )
        seconds = 0.2 + tokens[1] / 60 * draw.uniform(0.7, 1.5)
        yield self._history(
            messages, answer, has_tools, failed, calls_tool, tokens, seconds, chunk_ids[:4]
        )
        if not failed:
            yield self._pair(conversation, prompt, answer, has_tools, tokens)
        for position in range(draw.choice((1, 1, 2, 3)) if calls_tool else 0):
            yield self._tool_call(position)
        yield self._lineage(failed, seconds, chunk_ids)

    def _line(self, table: str, *values: object) -> EventLine:
        self._moment += _MICROSECOND
        envelope = (
            f"{self._correlation_id}\t{self._moment.isoformat()}\t1\t{self._key}\tfull"
            f"\t{self._traffic.next_sequence()}"
        )
        return EventLine(
            table,
            int(self._moment.timestamp() * 1000),
            f"7000{2 << 62 | self._draw.getrandbits(62):016x}".encode(),
            ("\t".join((envelope, *map(str, values))) + "\n").encode(),
        )

    def _history(
        self,
        messages: str,
        answer: _Text,
        has_tools: bool,
        failed: bool,
        calls_tool: bool,
        tokens: tuple[int, int],
        seconds: float,
        chunk_ids: list[str],
    ) -> EventLine:
        return self._line(
            "chat_history",
            *(self._dialect, self._model, self._backend),
            "failed" if failed else "completed",
            "t" if self._draw.random() < 0.8 else "f",
            messages,
            _NULL if failed else f'{{"role": "assistant", "content": "{answer.json}"}}',
            _TOOLS if has_tools else "[]",
            '{"temperature": 0.2, "max_tokens": 2048}',
            _NULL if failed else "tool_calls" if calls_tool else "stop",
            "backend_timeout" if failed else _NULL,
            *(*tokens, sum(tokens), "f"),
            *(self._moment.isoformat(), round(seconds, 4), round(seconds / 7, 4)),
            _array(chunk_ids),
        )

    def _pair(
        self,
        conversation: list[str],
        prompt: _Text,
        answer: _Text,
        has_tools: bool,
        tokens: tuple[int, int],
    ) -> EventLine:
        messages = ", ".join(
            (*conversation, f'{{"role": "assistant", "content": "{answer.json}"}}')
        )
        return self._line(
            "chat_pairs",
            *(self._model, self._backend, "t", f"[{messages}]"),
            *(prompt.plain, answer.plain),
            _TOOLS if has_tools else "[]",
            f"\\\\x{sha256(messages.encode()).hexdigest()}",
            *("stop", *tokens, sum(tokens)),
        )

    def _embedding(self) -> EventLine:
        draw = self._draw
        return self._line(
            "embedding_events",
            *("all-MiniLM-L6-v2", "query", 1, 256),
            *(round(draw.uniform(0.0004, 0.004), 6), draw.randrange(6, 90)),
        )

    def _retrieval(self, query: str, chunk_ids: list[str]) -> EventLine:
        uniform = self._draw.uniform
        candidates = ", ".join(
            f'{{"rank": {rank}, "chunk_id": "{chunk_id}", "text_score": {uniform(0, 1):.6f},'
            f' "fused_score": {uniform(0, 0.04):.6f}, "vector_score": {uniform(0.2, 0.9):.6f}}}'
            for rank, chunk_id in enumerate(chunk_ids, start=1)
        )
        return self._line(
            "retrieve_events",
            *(query, "default", "hybrid", 10, len(chunk_ids)),
            *(f"[{candidates}]", round(uniform(0.01, 0.03), 5), "ok", "all-MiniLM-L6-v2"),
        )

    def _composition(self, query: str, chunk_ids: list[str]) -> EventLine:
        return self._line(
            "compose_events",
            *(query, self._model, _array(chunk_ids), "{}"),
            *(170 * len(chunk_ids), 2000, 0.0008),
        )

    def _tool_call(self, position: int) -> EventLine:
        draw = self._draw
        return self._line(
            "tool_calls",
            f"call_{draw.getrandbits(64):016x}",
            draw.choice(_FUNCTIONS),
            f'{{"path": "src/module_{draw.randrange(9999)}.py", "line": {draw.randrange(900)}}}',
            *(position, self._model, self._backend),
        )

    def _lineage(self, failed: bool, seconds: float, chunk_ids: list[str]) -> EventLine:
        status = "failed" if failed else "completed"
        search = (
            '{"name": "embed", "offset_seconds": 0.0011, "duration_seconds": 0.0005},'
            f' {{"name": "retrieve", "details": {{"hits": {len(chunk_ids)}}}, "offset_seconds":'
            ' 0.0017, "duration_seconds": 0.0165}, '
        )
        backend = (
            f'{{"name": "backend", "status": "{status}", "details": {{"model": "{self._model}"}},'
            f' "offset_seconds": 0.0199, "duration_seconds": {seconds:.4f}}}'
        )
        return self._line(
            "flow_lineage",
            *(self._dialect, self._model, self._backend, status, self._moment.isoformat()),
            *(round(seconds + 0.02, 4), f"[{search if chunk_ids else ''}{backend}]"),
            *(_array(chunk_ids[:4]), _array([self._correlation_id])),
        )


_NULL = "\\N"


def _array(values: list[str]) -> str:
    return f"{{{','.join(values)}}}"


def _make_sentences(draw: random.Random) -> list[str]:
    """Return sentences of words by Zipf's law, with what JSON escapes among them."""
    syllables = [
        "".join(pair) for pair in zip("bcdfghklmnprstvz" * 5, "aeiouaeioay" * 7, strict=False)
    ]
    words = [
        "".join(draw.choices(syllables, k=1 + min(3, rank // 60))) for rank in range(_VOCABULARY)
    ]
    weights = list(accumulate(1 / (rank + 2.7) for rank in range(_VOCABULARY)))
    endings = (". ", ". ", ". ", "? ", ": ", ".\n", ".\n\n", ' "x = 1"; ')
    return [
        " ".join(draw.choices(words, cum_weights=weights, k=draw.randrange(4, 24))).capitalize()
        + draw.choice(endings)
        for _ in range(_SENTENCES)
    ]
