"""Texts into token IDs, as a model's configuration says."""

from collections.abc import Sequence
from dataclasses import dataclass

from tokenizers import Encoding as TokenizerEncoding
from tokenizers import Tokenizer

from knowledge.encoding.model_directory import ModelDirectory, ModelDirectoryError
from knowledge.ports import EmbeddingKind

_LONGEST_TOKEN_CHARACTERS = 32
"""Of a text, this many characters for each token that the model takes are looked at: a megabyte
is not tokenized for the 256 tokens that are kept of it."""
_MASK_TOKENS = ("[MASK]", "<mask>")
_PAD_TOKENS = ("[PAD]", "<pad>")


class UnencodableText(ValueError):
    """A text that cannot be encoded; the message says which and why."""


@dataclass(frozen=True, slots=True)
class TokenizedText:
    """One input of the model."""

    token_ids: list[int]
    attention_mask: list[int]
    """1 for a token that others attend to, else 0."""
    kept: list[bool]
    """Whether the token's own vector counts."""

    def __len__(self) -> int:
        return len(self.token_ids)


class TextTokenizer:
    """Adds prefixes, cuts, expands queries and marks skipped tokens.

    The conventions are ColBERT's (Khattab & Zaharia 2020, section 3.2): a marker after the first
    token tells queries from documents, short queries are filled with mask tokens, and vectors of
    punctuation in documents do not count.
    """

    def __init__(self, directory: ModelDirectory) -> None:
        """
        Raises:
            ModelDirectoryError: `tokenizer.json` cannot be read, or lacks a token that is needed.
        """
        self._config = config = directory.config
        try:
            self._tokenizer = Tokenizer.from_file(str(directory.tokenizer_file))
        except Exception as error:  # tokenizers raises bare Exception
            raise ModelDirectoryError(f"{directory.tokenizer_file}: {error}") from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self.vocabulary_size = self._tokenizer.get_vocab_size(with_added_tokens=True)
        self.pad_token_id = self._find_token(config.pad_token_id, _PAD_TOKENS) or 0
        self._mask_token_id = self._find_token(config.mask_token_id, _MASK_TOKENS)
        if config.do_query_expansion and self._mask_token_id is None:
            raise ModelDirectoryError(
                f"{directory.tokenizer_file}: queries are to be expanded, but there is no mask"
                " token; name it by mask_token_id"
            )
        self._markers: dict[EmbeddingKind, int | None] = {
            "query": self._marker(config.query_prefix),
            "document": self._marker(config.document_prefix),
        }
        self._prefixes: dict[EmbeddingKind, str] = {
            "query": config.query_prefix,
            "document": config.document_prefix,
        }
        self._lengths: dict[EmbeddingKind, int] = {
            "query": config.query_length,
            "document": config.document_length,
        }
        self._skipped = {
            token_id
            for word in config.skiplist_words
            if (token_id := self._tokenizer.token_to_id(word)) is not None
        }
        # What the tokenizer's own template puts around every text.
        empty = self._tokenizer.encode("")
        self._special_count = len(empty.ids)
        self._template_start = empty.ids[:1]
        self._template_end = empty.ids[1:]

    def tokenize(self, texts: Sequence[str], *, kind: EmbeddingKind) -> list[TokenizedText]:
        """Return one input per text, cut to the model's length for `kind`.

        Raises:
            UnencodableText: a text holds unpaired surrogates, which are no characters.
        """
        prepared = [self._prepare(text, kind, number) for number, text in enumerate(texts)]
        encodings = self._tokenizer.encode_batch_fast(prepared)
        return [self._finish(_content_ids(encoding), kind) for encoding in encodings]

    def tokenize_ids(
        self, token_ids: Sequence[Sequence[int]], *, kind: EmbeddingKind
    ) -> list[TokenizedText]:
        """Return inputs of a client's own token IDs, which are without special tokens.

        Raises:
            UnencodableText: an ID is not in the vocabulary.
        """
        for number, ids in enumerate(token_ids):
            for token_id in ids:
                if not 0 <= token_id < self.vocabulary_size:
                    raise UnencodableText(
                        f"input {number}: token {token_id} is not in the vocabulary of"
                        f" {self.vocabulary_size}"
                    )
        return [self._finish(list(ids), kind) for ids in token_ids]

    def count_tokens(self, text: str, *, kind: EmbeddingKind) -> int:
        """Return the length of `text` before it is cut, special tokens included."""
        prepared = self._prepare(text, kind, 0, is_cut=False)
        content = len(_content_ids(self._tokenizer.encode_batch_fast([prepared])[0]))
        return content + self._special_count + (self._markers[kind] is not None)

    def _prepare(self, text: str, kind: EmbeddingKind, number: int, *, is_cut: bool = True) -> str:
        if is_cut:
            text = text[: self._lengths[kind] * _LONGEST_TOKEN_CHARACTERS]
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise UnencodableText(
                f"input {number}: unpaired surrogate at character {error.start}"
            ) from error
        if self._config.do_lower_case:
            text = text.lower()
        return text if self._markers[kind] is not None else self._prefixes[kind] + text

    def _finish(self, content: list[int], kind: EmbeddingKind) -> TokenizedText:
        marker = self._markers[kind]
        start = [*self._template_start] if marker is None else [*self._template_start, marker]
        length = self._lengths[kind]
        room = max(0, length - len(start) - len(self._template_end))
        ids = [*start, *content[:room], *self._template_end]
        mask = [1] * len(ids)
        if kind == "document":
            skipped = self._skipped
            return TokenizedText(ids, mask, [token_id not in skipped for token_id in ids])
        if self._config.do_query_expansion and self._mask_token_id is not None:
            missing = length - len(ids)
            ids += [self._mask_token_id] * missing
            mask += [int(self._config.attend_to_expansion_tokens)] * missing
        return TokenizedText(ids, mask, [True] * len(ids))

    def _marker(self, prefix: str) -> int | None:
        if not prefix:
            return None
        found: int | None = self._tokenizer.token_to_id(prefix)
        return found if found is not None else self._tokenizer.token_to_id(prefix.strip())

    def _find_token(self, configured: int | None, names: Sequence[str]) -> int | None:
        if configured is not None:
            return configured
        found = (self._tokenizer.token_to_id(name) for name in names)
        return next((token_id for token_id in found if token_id is not None), None)


def _content_ids(encoding: TokenizerEncoding) -> list[int]:
    """The text's own tokens, without those of the template."""
    special = encoding.special_tokens_mask
    return [token_id for token_id, mark in zip(encoding.ids, special, strict=True) if not mark]
