"""Pairs of sentences: records of all parts → splits → tokens fitted on train → tables and card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from pipeline.data.splits import BY_CONTENT, Shares, described, in_order, shares_of_pool, split_rows
from pipeline.data.tables import SPLITS, Prepared, schema
from pipeline.data.tokens import BEGIN, END, PAD, Tokenizer, as_bytes, fit_tokenizer, padded
from pipeline.formats.contents import digests_of_texts, normalised
from pipeline.formats.records import Pairs
from pipeline.tasks.requests import LONGEST_TEXT

Sides = tuple[list[str], list[str]]  # sources and targets


def prepare_pairs(
    parts: Mapping[str, Pairs], split: Shares, seed: int, *, vocabulary: int, lowercase: bool, longest: int
) -> Prepared:
    """Splits the pairs, by content where the parts are not published, and turns both sides into tokens.

    Pairs of train with more than `longest` tokens on a side are left out and counted; validation and test stay whole.
    """
    shares, order = shares_of_pool(parts, split), in_order(parts)
    sent, units = _split(parts, order, shares, seed)
    texts = {
        part: tuple([normalised(text, lowercase) for text in side] for side in sides) for part, sides in sent.items()
    }
    models = [fit_tokenizer(texts["train"][side], vocabulary) for side in (0, 1)]
    tokenizers = [Tokenizer(model) for model in models]
    tables, left_out = {}, 0
    for part, (sources, targets) in texts.items():
        rows = [tokenizers[0].encode(sources), [[*row, END] for row in tokenizers[1].encode(targets)]]
        tokens = [max(map(len, pair)) for pair in zip(*rows, strict=True)]
        kept = [index for index, count in enumerate(tokens) if part != "train" or count <= longest]
        left_out += len(sources) - len(kept)
        tables[part] = _table(rows, (sources, targets), kept)
    if not len(tables["train"]["source"]):
        raise ValueError(f"settings.longest: found {longest}; every pair of train is longer than that")
    warnings = [f"{left_out} pairs of train with more than {longest} tokens on a side are left out"] if left_out else []
    card: dict[str, Any] = {
        "shape": "sequence",
        "schema": schema(tables),
        "counts": {part: len(tables[part]["source"]) for part in SPLITS},
        "split": described(shares, order, "content", BY_CONTENT, seed),
        "source_tokenizer": models[0],
        "target_tokenizer": models[1],
        "special": {"padding": PAD, "begin": BEGIN, "end": END},
        "source_vocabulary": len(tokenizers[0]),
        "target_vocabulary": len(tokenizers[1]),
        "lowercase": lowercase,
        "mean_tokens": {
            part: [round(float(tables[part][f"{side}_lengths"].mean()), 2) for side in ("source", "target")]
            for part in SPLITS
        },
        "missing": {},
        "warnings": warnings + _repeated(texts),
    }
    return Prepared(tables, card, pd.DataFrame({"text": [text[:LONGEST_TEXT] for text in sent["test"][0]]}), units)


def _split(
    parts: Mapping[str, Pairs], order: list[str], shares: Mapping[str, float], seed: int
) -> tuple[dict[str, Sides], dict[str, np.ndarray]]:
    """Splits sentences and their digests. A source decides alone: its translations never come into two splits."""
    sides = [[text for name in order for text in getattr(parts[name], side)] for side in ("sources", "targets")]
    sizes = {name: len(parts[name].sources) for name in order}
    units = digests_of_texts(sides[0])
    rows = split_rows(sizes, shares, seed, units, classes=["pairs"])
    texts = {part: ([sides[0][row] for row in rows[part]], [sides[1][row] for row in rows[part]]) for part in SPLITS}
    return texts, {part: units[rows[part]] for part in SPLITS}


def _table(rows: list[list[list[int]]], texts: Sides, kept: list[int]) -> dict[str, np.ndarray]:
    source, source_lengths = padded([rows[0][index] for index in kept])
    target, target_lengths = padded([rows[1][index] for index in kept])
    return {
        "source": source, "source_lengths": source_lengths, "target": target, "target_lengths": target_lengths,
        "text": as_bytes([texts[0][index] for index in kept]),
        "reference": as_bytes([texts[1][index] for index in kept]),
    }  # fmt: skip


def _repeated(texts: Mapping[str, Any]) -> list[str]:
    known = set(zip(*texts["train"], strict=True))
    counts = {part: sum(pair in known for pair in zip(*texts[part], strict=True)) for part in SPLITS[1:]}
    return [f"{count} pairs of {part} are also in train" for part, count in counts.items() if count]
