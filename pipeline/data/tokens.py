"""Subword tokens: byte-pair encoding (Sennrich et al. 2016) by SentencePiece, fitted on train, stored as text."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from pipeline.formats.padding import check_padding

PAD, UNKNOWN, BEGIN, END = range(4)  # the first tokens of every vocabulary
SMALLEST = 16  # tokens


class Tokenizer:
    """Text to tokens and back."""

    def __init__(self, model: str) -> None:
        self.processor = _library().SentencePieceProcessor(model_proto=base64.b64decode(model))

    def __len__(self) -> int:
        return int(self.processor.get_piece_size())

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Encodes normalised texts; UNKNOWN for a sign that train did not have."""
        tokens: list[list[int]] = self.processor.encode(list(texts), out_type=int)
        return tokens

    def decode(self, tokens: Sequence[Sequence[int]]) -> list[str]:
        """Decodes tokens to texts; tokens without a text are skipped."""
        silent = (PAD, BEGIN, END)
        return [str(self.processor.decode([token for token in row if token not in silent])) for row in tokens]


def fit_tokenizer(texts: Iterable[str], vocabulary: int) -> str:
    """Fits a model of at most `vocabulary` tokens, as base64. Raises ValueError where the texts do not give so many."""
    written = io.BytesIO()
    try:
        _library().SentencePieceTrainer.train(
            sentence_iterator=iter(texts), model_writer=written, vocab_size=vocabulary, model_type="bpe",
            character_coverage=1.0, normalization_rule_name="identity", num_threads=1, minloglevel=2,
            pad_id=PAD, unk_id=UNKNOWN, bos_id=BEGIN, eos_id=END, max_sentence_length=1 << 20,
        )  # fmt: skip
    except RuntimeError as error:
        raise ValueError(
            f"settings.vocabulary: found {vocabulary}; the sentences of train do not give so many tokens, or need more "
            f"for their letters alone ({str(error).splitlines()[-1].strip()})"
        ) from None
    return base64.b64encode(written.getvalue()).decode("ascii")


def padded(rows: Sequence[Sequence[int]], dtype: Any = np.int32) -> tuple[np.ndarray, np.ndarray]:
    """Returns (N, T) with PAD behind the shorter rows, and (N,) their lengths."""
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    check_padding(lengths, np.dtype(dtype).itemsize)
    table = np.full((len(rows), max(int(lengths.max(initial=1)), 1)), PAD, dtype=dtype)
    for index, row in enumerate(rows):
        table[index, : len(row)] = row
    return table, lengths


def as_bytes(texts: Sequence[str]) -> np.ndarray:
    """Encodes texts as (N, L) uint8 in UTF-8, zeros behind the shorter ones."""
    return padded([list(text.encode()) for text in texts], np.uint8)[0]


def as_texts(table: np.ndarray) -> list[str]:
    """Inverts `as_bytes`."""
    return [row.tobytes().rstrip(b"\0").decode() for row in table]


def _library() -> Any:
    try:
        import sentencepiece
    except ImportError:
        raise ValueError("tasks with text need the extra `text`: pip install -e '.[text]'") from None
    return sentencepiece
