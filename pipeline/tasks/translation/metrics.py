"""BLEU and chrF of a corpus as sacrebleu defines them, from counts of its sentences that can be added up.

So a bootstrap over sentences needs no sentence: weights times counts are the counts of a resample.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from pipeline.data.tokens import as_texts
from pipeline.formats.contents import normalised

BLEU_COUNTS = [
    "bleu_tokens", "bleu_reference_tokens", *(f"bleu_found_{n}" for n in range(1, 5)),
    *(f"bleu_all_{n}" for n in range(1, 5)),
]  # fmt: skip
CHRF_COUNTS = [f"chrf_{what}_{n}" for n in range(1, 7) for what in ("all", "reference", "found")]
COUNTS = [*BLEU_COUNTS, *CHRF_COUNTS]
BETA = 2  # chrF2: recall counts twice as much as precision (Popović 2015)


def counts_of(translations: Sequence[str], references: Sequence[str]) -> np.ndarray:
    """Counts n-grams (N, 28), in the order of COUNTS, of translations against one reference each."""
    library = _library()
    bleu = library.BLEU(effective_order=True)._extract_corpus_statistics(list(translations), [list(references)])
    chrf = library.CHRF()._extract_corpus_statistics(list(translations), [list(references)])
    return np.concatenate([np.array(bleu, dtype=np.float64), np.array(chrf, dtype=np.float64)], axis=1)


def bleu(counts: np.ndarray) -> np.ndarray:
    """Computes (R,) BLEU, 0 to 100, of (R, 28) counts (Papineni et al. 2002; a count of none is halved repeatedly)."""
    tokens, reference = counts[:, 0], counts[:, 1]
    matched, total = counts[:, 2:6], counts[:, 6:10]
    none = matched == 0
    smoothed = 1 / 2.0 ** np.cumsum(none, axis=1)
    precisions = np.where(none, smoothed, matched) / np.maximum(total, 1e-12)
    with np.errstate(divide="ignore"):
        mean = np.exp(np.log(precisions).mean(1))
    brevity = np.where(tokens < reference, np.exp(1 - reference / np.maximum(tokens, 1e-12)), 1.0)
    scored = (total > 0).all(1) & (matched.sum(1) > 0)
    return np.where(scored, 100 * brevity * mean, 0.0)


def sentence_bleu(counts: np.ndarray) -> np.ndarray:
    """Computes (N,) BLEU of single sentences: over the orders that they are long enough for."""
    return np.array([bleu_of_one(row) for row in counts])


def bleu_of_one(row: np.ndarray) -> float:
    scorer = _library().BLEU(effective_order=True)
    matched, total = row[2:6].astype(int).tolist(), row[6:10].astype(int).tolist()
    return float(scorer.compute_bleu(matched, total, int(row[0]), int(row[1]), "exp", effective_order=True).score)


def chrf(counts: np.ndarray) -> np.ndarray:
    """Computes (R,) chrF2, 0 to 100, of (R, 28) counts: precision and recall are means over orders of both sides."""
    every, reference, matched = (counts[:, 10 + place :: 3] for place in range(3))  # (R, 6) each
    known = (every > 0) & (reference > 0)
    orders = np.maximum(known.sum(1), 1)
    precision = np.where(known, matched / np.maximum(every, 1e-12), 0.0).sum(1) / orders
    recall = np.where(known, matched / np.maximum(reference, 1e-12), 0.0).sum(1) / orders
    scores: np.ndarray = 100 * (1 + BETA**2) * precision * recall / np.maximum(BETA**2 * precision + recall, 1e-12)
    return scores


def compared(texts: Mapping[str, Tensor], translations: list[str], lowercase: bool) -> pd.DataFrame:
    """Builds the prediction table of translations of the sources `text`, with each `reference`; (N, L) bytes both.

    Translations are written as the references are: a model that was trained otherwise may use capitals.
    """
    written = [normalised(text, lowercase) for text in translations]
    return prediction_table(as_texts(texts["text"].numpy()), as_texts(texts["reference"].numpy()), written)


def prediction_table(sources: list[str], references: list[str], translations: list[str]) -> pd.DataFrame:
    """Builds one row per sentence: source, truth, translation, and the counts from which BLEU and chrF are made."""
    texts = {"source": sources, "truth": references, "translation": translations}
    counts = pd.DataFrame(counts_of(translations, references), columns=COUNTS)
    columns = {name: pd.Series(values, dtype=object) for name, values in texts.items()}
    return pd.concat([pd.DataFrame({"example": np.arange(len(translations)), **columns}), counts], axis=1)


def signature(lowercase: bool) -> str:
    """Returns the signature by which sacrebleu records which BLEU this is."""
    scorer = _library().BLEU(lowercase=lowercase)
    scorer.corpus_score(["a"], [["a"]])
    return str(scorer.get_signature())


def _library() -> Any:
    try:
        from sacrebleu import metrics
    except ImportError:
        raise ValueError("translations are scored by the extra `text`: pip install -e '.[text]'") from None
    return metrics
