"""The texts that wait, and which of them make the next batch."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from itertools import islice

from knowledge.encoding.tokenization import TokenizedText
from knowledge.ports import Encoding

_WINDOW_TEXTS = 512
"""Texts among which those of like length are looked for."""

_WORTHWHILE_PADDING = 16
"""Tokens. To fill a text up by more costs more than the batch of its own that it would save."""


class Job:
    """The texts of one request, and what has become of them."""

    def __init__(self, texts: Sequence[TokenizedText], *, with_tokens: bool) -> None:
        self.texts = texts
        self.with_tokens = with_tokens
        self.future: Future[list[Encoding]] = Future()
        self.waiting = list(range(len(texts)))
        """Positions of the texts that no batch has taken yet."""
        self._encodings: list[Encoding | None] = [None] * len(texts)
        self._missing = len(texts)

    @property
    def waiting_tokens(self) -> int:
        return sum(len(self.texts[position]) for position in self.waiting)

    def take(self, position: int, encoding: Encoding) -> bool:
        """Keep one text's encoding; return whether it was the last that was missing."""
        if encoding.tokens is not None and not self.with_tokens:
            # Another text of the batch wanted them.
            encoding = Encoding(encoding.dense, None, encoding.token_count)
        self._encodings[position] = encoding
        self._missing -= 1
        return self._missing == 0

    @property
    def encodings(self) -> list[Encoding]:
        """One per text, in order. All must have been taken."""
        return [each for each in self._encodings if each is not None]


Batch = list[tuple[Job, int]]
"""Texts that are run together, as jobs and positions in them."""


class Lane:
    """Jobs of one urgency that take turns."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[Job, None] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._jobs)

    def add(self, job: Job) -> None:
        """Put a job at the end."""
        self._jobs[job] = None

    def drop(self, job: Job) -> int:
        """Forget what waits of a job, if it is here; return the tokens that this was."""
        if job not in self._jobs:
            return 0
        del self._jobs[job]
        tokens = job.waiting_tokens
        job.waiting = []
        return tokens

    def clear(self) -> list[Job]:
        """Forget all jobs and return them."""
        jobs = list(self._jobs)
        self._jobs.clear()
        return jobs

    def next_batch(self, budget_tokens: int) -> Batch:
        """Take out the texts that are to be run next: one at least.

        The first job's first text leads, so that none waits for ever, and goes with texts of
        about its length, whoever they belong to. Then it is another job's turn to lead: a small
        one is not held up by a large one's rest.

        Args:
            budget_tokens: most tokens of the batch, padding included. A text that is longer
                goes alone.
        """
        leader = next(iter(self._jobs))
        window = sorted(
            islice(self._waiting(), _WINDOW_TEXTS),
            key=lambda entry: len(entry[0].texts[entry[1]]),
        )
        lengths = [len(job.texts[position]) for job, position in window]
        start, end = _spread(lengths, window.index((leader, leader.waiting[0])), budget_tokens)
        batch = window[start:end]
        taken: dict[Job, set[int]] = {}
        for job, position in batch:
            taken.setdefault(job, set()).add(position)
        self._jobs.move_to_end(leader)
        for job, positions in taken.items():
            job.waiting = [each for each in job.waiting if each not in positions]
            if not job.waiting:
                del self._jobs[job]
        return batch

    def _waiting(self) -> Iterator[tuple[Job, int]]:
        return ((job, position) for job in self._jobs for position in job.waiting)


def padded_tokens(batch: Batch) -> int:
    """Return the tokens that go through the model for `batch`."""
    return len(batch) * max(len(job.texts[position]) for job, position in batch)


def _spread(lengths: Sequence[int], leader: int, budget_tokens: int) -> tuple[int, int]:
    """Return the start and end of the run of `lengths`, ascending, that goes with the leader."""
    start, end = leader, leader + 1
    while True:
        count = end - start + 1
        shorter = longer = None
        if start > 0 and count * lengths[end - 1] <= budget_tokens:
            shorter = lengths[end - 1] - lengths[start - 1]
        if end < len(lengths) and count * lengths[end] <= budget_tokens:
            longer = lengths[end] - lengths[start]
        differences = [each for each in (shorter, longer) if each is not None]
        if not differences or min(differences) > _WORTHWHILE_PADDING:
            return start, end
        if shorter is not None and shorter == min(differences):
            start -= 1
        else:
            end += 1
