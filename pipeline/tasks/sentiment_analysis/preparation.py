"""Labelled sentences: records of all parts → splits → tokens fitted on train → padded tables and card."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from pipeline.data.classes import class_numbers, duplicates, labelled_card, rare_classes
from pipeline.data.splits import BY_CONTENT, Shares, described, in_order, shares_of_pool, split_rows
from pipeline.data.tables import SPLITS, Prepared
from pipeline.data.tokens import PAD, UNKNOWN, Tokenizer, as_bytes, fit_tokenizer, padded
from pipeline.formats.contents import digests_of_texts, normalised
from pipeline.formats.records import LabelledText
from pipeline.tasks.requests import LONGEST_TEXT


def prepare_labelled_text(
    parts: Mapping[str, LabelledText], split: Shares, seed: int, *, vocabulary: int, lowercase: bool, longest: int
) -> Prepared:
    """Splits the sentences, class by class where the parts are not published, and turns them into tokens.

    Tables hold `tokens` (N, T) with padding behind their `lengths` (N,), `labels` (N,), and the normalised `text`
    (N, L) as bytes. Of a sentence with more than `longest` tokens the first of them count.
    """
    shares = shares_of_pool(parts, split)
    order = in_order(parts)
    _check_kind(parts)
    sent = [text for name in order for text in parts[name].texts]
    texts = [normalised(text, lowercase) for text in sent]
    names, labels = class_numbers(parts, order)
    sizes = {name: len(parts[name].labels) for name in order}
    units = digests_of_texts(sent)
    rows = split_rows(sizes, shares, seed, units, classes=names, labels=labels)
    sentences = {part: [texts[row] for row in rows[part]] for part in SPLITS}
    model = fit_tokenizer(sentences["train"], vocabulary)
    tokenizer = Tokenizer(model)
    encoded = {part: tokenizer.encode(sentences[part]) for part in SPLITS}
    tables = {
        part: {**token_table(encoded[part], longest), "labels": labels[rows[part]], "text": as_bytes(sentences[part])}
        for part in SPLITS
    }
    card = labelled_card(tables, names)
    card |= {
        "shape": "sequence",
        "split": described(shares, order, "content", BY_CONTENT, seed),
        "tokenizer": model,
        "vocabulary": len(tokenizer),
        "special": {"padding": PAD, "unknown": UNKNOWN},
        "lowercase": lowercase,
        "longest": longest,
        "mean_tokens": {part: round(float(tables[part]["lengths"].mean()), 2) for part in SPLITS},
        "warnings": [
            *(warning for name in order for warning in parts[name].warnings),
            *duplicates({part: [text.encode() for text in sentences[part]] for part in SPLITS}, "sentences", "word"),
            *_contradictions(sentences["train"], labels[rows["train"]]),
            *rare_classes(card["class_counts"], "example", "examples"),
            *_shortened(encoded, longest),
        ],
    }
    requests = pd.DataFrame({"text": [sent[row][:LONGEST_TEXT] for row in rows["test"]]})
    return Prepared(tables, card, requests, {part: units[rows[part]] for part in SPLITS})


def token_table(rows: Sequence[Sequence[int]], longest: int) -> dict[str, np.ndarray]:
    """Takes the first `longest` tokens of each sentence, at least one, with padding behind them, and their number."""
    tokens, lengths = padded([row[:longest] or [UNKNOWN] for row in rows])
    return {"tokens": tokens, "lengths": lengths}


def _check_kind(parts: Mapping[str, LabelledText]) -> None:
    for name, part in parts.items():
        if not isinstance(part, LabelledText):
            raise ValueError(
                f"part {name} holds {type(part).__name__}; choose a data.format that reads labelled sentences, such as "
                "labelled_text"
            )


def _contradictions(texts: list[str], labels: np.ndarray) -> Iterator[str]:
    """Warns of sentences of train that have more than one label."""
    labels_by_text: dict[str, set[int]] = {}
    for text, label in zip(texts, labels.tolist(), strict=True):
        labels_by_text.setdefault(text, set()).add(label)
    count = sum(len(different) > 1 for different in labels_by_text.values())
    if count:
        yield f"{count} sentences of train stand there with more than one label"


def _shortened(encoded: Mapping[str, list[list[int]]], longest: int) -> Iterator[str]:
    for part in SPLITS:
        count = sum(len(row) > longest for row in encoded[part])
        if count:
            yield f"{count} sentences of {part} have more than {longest} tokens, of which the first {longest} count"
