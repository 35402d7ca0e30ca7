"""Transcripts compared with the truth: errors, figures of a corpus, and what a user sends and gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from pipeline.data.tables import Batch, Card
from pipeline.data.tokens import as_texts
from pipeline.formats.audio import padded_samples, read_sound, written
from pipeline.formats.contents import normalised

COUNTS = ("word_errors", "words", "character_errors", "characters")


def edits(hypotheses: Sequence[Sequence[str]], truth: Sequence[Sequence[str]]) -> np.ndarray:
    """Counts the fewest insertions, deletions and substitutions from `hypotheses` to `truth`: (N,) (Levenshtein 1966).

    All pairs go together, a word of the truth at a time. What is gained by insertions along a row is a running minimum.
    """
    number: dict[str, int] = {}
    rows, columns = (
        [[number.setdefault(item, len(number)) for item in row] for row in side] for side in (truth, hypotheses)
    )
    heights, widths = (np.array([len(row) for row in side], dtype=np.int64) for side in (rows, columns))
    wanted, written_ = _table(rows, heights), _table(columns, widths)
    along = np.arange(written_.shape[1] + 1)
    costs = np.repeat(along[None], len(heights), axis=0)  # (N, W + 1) of deleting the first words of a hypothesis
    for place in range(wanted.shape[1]):
        kept = costs[:, :-1] + (written_ != wanted[:, place, None])
        after = np.concatenate([costs[:, :1] + 1, np.minimum(kept, costs[:, 1:] + 1)], axis=1)
        after = np.minimum.accumulate(after - along, axis=1) + along
        costs = np.where((place < heights)[:, None], after, costs)
    return np.take_along_axis(costs, widths[:, None], axis=1)[:, 0]


def prediction_table(outputs: Sequence[tuple[Tensor, Tensor]], examples: Batch, card: Card) -> pd.DataFrame:
    """Builds one row per recording from the outputs of `infer`: tokens (1, T) and how sure the network was (1,)."""
    between = " " if card["units"] == "words" else ""
    texts = [
        between.join(card["alphabet"][token - 1] for token in tokens[0].tolist() if token) for tokens, _ in outputs
    ]
    return compared(texts, [float(sure) for _, sure in outputs], examples, card)


def compared(texts: list[str], sure: list[float], examples: Mapping[str, Tensor], card: Card) -> pd.DataFrame:
    """Builds one row per recording: truth, transcript, and the counts of errors from which the figures are made."""
    truths = as_texts(examples["reference"].cpu().numpy())
    transcripts = [normalised(text, card["lowercase"]) for text in texts]  # a model may write capitals otherwise
    return pd.DataFrame(
        {
            "example": np.arange(len(transcripts)),
            "truth": pd.Series(truths, dtype=object),
            "transcript": pd.Series(transcripts, dtype=object),
            "confidence": np.array(sure, dtype=np.float64),
            "seconds": examples["lengths"].double().cpu().numpy() / card["sample_rate"],
            "word_errors": edits([text.split() for text in transcripts], [text.split() for text in truths]),
            "words": np.array([len(text.split()) for text in truths], dtype=np.int64),
            "character_errors": edits(transcripts, truths),
            "characters": np.array([len(text) for text in truths], dtype=np.int64),
        }
    )


def resampled_metrics(predictions: pd.DataFrame, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Returns error rates: errors by words, by characters (spaces count), and the share of recordings with an error."""
    errors, words, character_errors, characters = (weights @ predictions[name].to_numpy(np.float64) for name in COUNTS)
    wrong = weights @ (predictions["word_errors"] > 0).to_numpy(np.float64)
    return {
        "word_error_rate": errors / words,
        "character_error_rate": character_errors / characters,
        "recording_error_rate": wrong / weights.sum(1),
    }


def wav_files(table: Mapping[str, Tensor], card: Card, count: int) -> list[bytes]:
    """Returns the first recordings of a table as WAV files."""
    rows = zip(table["samples"][:count].numpy(), table["lengths"][:count].tolist(), strict=True)
    return [written(samples[:length], card["sample_rate"]) for samples, length in rows]


def heard(request: pd.DataFrame, card: Card) -> Batch:
    """Decodes a request to examples without truth. Raises ValueError with the row of what is not a recording."""
    from pipeline.tasks.requests import files_of

    sounds = files_of(request, "audio", lambda file: read_sound(file, card["sample_rate"]).samples)
    samples, lengths = (torch.from_numpy(array) for array in padded_samples(sounds))
    nothing = {"targets": torch.zeros(len(sounds), 1, dtype=torch.int64), "target_lengths": torch.ones_like(lengths)}
    return {"samples": samples, "lengths": lengths, "reference": nothing["targets"].to(torch.uint8), **nothing}


def answer_table(predictions: pd.DataFrame | None) -> pd.DataFrame:
    """Builds the answer of the served model: a transcript and how sure it is of it."""
    if predictions is None:
        return pd.DataFrame({"transcript": pd.Series([], dtype=object), "confidence": pd.Series([], dtype=np.float64)})
    return predictions[["transcript", "confidence"]]


def _table(rows: list[list[int]], lengths: np.ndarray) -> np.ndarray:
    table = np.full((len(rows), int(lengths.max(initial=0))), -1, dtype=np.int64)
    for index, row in enumerate(rows):
        table[index, : len(row)] = row
    return table
