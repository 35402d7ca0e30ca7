"""Sentiment analysis: padding, word dropout, the baseline, pictures, and requests that cannot be answered."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from pipeline.formats.records import LabelledText
from pipeline.models import FAMILIES, load_family
from pipeline.models.encoder import trimmed
from pipeline.tasks.sentiment_analysis.baselines import logistic_regression
from pipeline.tasks.sentiment_analysis.plots import labelled_sentences
from pipeline.tasks.sentiment_analysis.preparation import prepare_labelled_text
from pipeline.tasks.sentiment_analysis.task import SentimentAnalysis

SETTINGS: dict[str, Any] = {"vocabulary": 40, "lowercase": True, "longest": 30}
TASK = SentimentAnalysis(SETTINGS)
CARD = {"classes": ["bad", "good"], "vocabulary": 12, "special": {"padding": 0, "unknown": 1}}
PLAIN = {"embedding": 8, "embedding_dropout": 0.0, "word_dropout": 0.0, "pooling": "maximum", "label_smoothing": 0.0}
ARCHITECTURES = [(family, name) for family in FAMILIES for name in load_family(family).ARCHITECTURES]
PRAISE = [f"a {word} {thing}" for word in ("fine", "warm", "lovely") for thing in ("film", "plot", "cast")]
BLAME = [f"a {word} {thing}" for word in ("dull", "stale", "clumsy") for thing in ("film", "plot", "cast")]


def network(family: str = "cnn", architecture: str = "textcnn", card: Any = CARD, **changes: Any) -> torch.nn.Module:
    kind = load_family(family)
    torch.manual_seed(0)

    def encoders(channels: int) -> Any:
        return kind(channels, 1, False, architecture=architecture, **kind.EXAMPLE)

    return TASK.network(encoders, card, **PLAIN | changes)


def table(lengths: list[int], seed: int = 0) -> dict[str, Tensor]:
    """Sentences of tokens from 2 to 11, padded behind their lengths."""
    tokens = torch.randint(2, 12, (len(lengths), max(lengths)), generator=torch.Generator().manual_seed(seed))
    for row, length in enumerate(lengths):
        tokens[row, length:] = 0
    return {"tokens": tokens, "lengths": torch.tensor(lengths), "labels": torch.arange(len(lengths)) % 2}


@pytest.mark.parametrize(("family", "architecture"), ARCHITECTURES)
@pytest.mark.parametrize("pooling", ["mean", "maximum", "mean_and_maximum"])
def test_more_padding_changes_no_answer(family: str, architecture: str, pooling: str) -> None:
    model = network(family, architecture, pooling=pooling).eval()
    batch = table([1, 4, 9, 9, 12])
    longer = {**batch, "tokens": torch.nn.functional.pad(batch["tokens"], (0, 30))}
    with torch.inference_mode():
        expected = TASK.output(model, batch)
        torch.testing.assert_close(TASK.output(model, longer), expected, rtol=1e-4, atol=1e-5)
        for behind in (0, 7):  # word dropout puts words behind the sentences, too
            tokens = longer["tokens"].masked_fill(longer["tokens"] == 0, behind)
            torch.testing.assert_close(model(tokens, longer["lengths"]), expected, rtol=1e-4, atol=1e-5)
        alone = [model(batch["tokens"][row : row + 1, :length], None) for row, length in enumerate([1, 4, 9, 9, 12])]
        torch.testing.assert_close(torch.cat(alone), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("family", "architecture"), ARCHITECTURES)
def test_the_order_of_the_words_counts(family: str, architecture: str) -> None:
    model = network(family, architecture).eval()
    with torch.inference_mode():
        one, other = model(torch.tensor([[2, 3, 4, 5, 6], [2, 5, 4, 3, 6]]), None)
    assert (one - other).abs().max() > 1e-4


def test_predictions_stand_in_the_order_of_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = network().eval(), table([7, 2, 30, 5, 11, 3])
    whole = TASK.predict(model, batch, CARD)
    monkeypatch.setattr("pipeline.tasks.sentiment_analysis.task.AT_ONCE", 60)  # two sentences at a time
    pd.testing.assert_frame_equal(TASK.predict(model, batch, CARD), whole, rtol=1e-4, atol=1e-6)
    assert whole["label"].tolist() == [0, 1] * 3


def test_trimming_keeps_lengths_only_where_they_differ() -> None:
    cut, lengths = trimmed(torch.zeros(2, 9), torch.tensor([4, 4]))
    assert cut.shape == (2, 4) and lengths is None
    cut, lengths = trimmed(torch.zeros(2, 9), torch.tensor([4, 6]))
    assert cut.shape == (2, 6) and lengths is not None


def test_word_dropout_takes_its_share_of_the_words_for_unknown_ones() -> None:
    model, batch = network(word_dropout=0.25), table([50] * 200)
    results = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        results.append(TASK.augment(model, batch)["tokens"])
    assert torch.equal(results[0], results[1]) and not torch.equal(results[0], results[2])
    changed = results[0] != batch["tokens"]
    assert (results[0][changed] == 1).all() and float(changed.float().mean()) == pytest.approx(0.25, abs=0.01)
    assert TASK.augment(network(), batch) is batch


@pytest.mark.parametrize("classes", [2, 3])
def test_the_baseline_knows_words_and_pairs_of_words(classes: int) -> None:
    texts = [*PRAISE, *BLAME, *(f"not {text}" for text in PRAISE)][: 9 * classes]
    labels = np.repeat(np.arange(classes), 9)
    new = ["a lovely thing", "a stale thing", "not a fine thing"][:classes]
    found = logistic_regression(
        {"train": texts, "validation": texts, "test": new},
        {"train": labels, "validation": labels, "test": np.arange(classes)},
    )
    assert found["validation"].shape == (9 * classes, classes) and found["test"].argmax(1).tolist() == [*range(classes)]


@pytest.mark.parametrize(
    ("name", "value"), [("vocabulary", 3), ("vocabulary", 80.5), ("lowercase", "yes"), ("longest", 0)]
)
def test_settings_are_checked(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"^settings\.{name}: found {value!r}; allowed: "):
        SentimentAnalysis(SETTINGS | {name: value})


@pytest.fixture(scope="module")
def card() -> dict[str, Any]:
    """Of tokens that were fitted on praise and blame."""
    part = LabelledText([*PRAISE, *BLAME], np.array(["good"] * 9 + ["bad"] * 9))
    return TASK.prepare({"all": part}, {"validation": 0.2, "test": 0.2}, 0).card


def frame(*texts: object) -> pd.DataFrame:
    return pd.DataFrame({"text": pd.Series(list(texts), dtype=object)})


def test_an_answer_does_not_depend_on_case_blanks_or_other_sentences(card: dict[str, Any]) -> None:
    model = network(card=card).eval()
    alone, together = (
        TASK.answer(model, frame(*texts), card) for texts in (["a fine film"], ["  A FINE\tfilm\n", "dull " * 20])
    )
    assert list(together) == ["class", "confidence", "bad", "good"]
    pd.testing.assert_frame_equal(together.iloc[:1], alone, rtol=1e-4)
    assert together[["bad", "good"]].sum(axis=1).tolist() == pytest.approx([1, 1])


def test_of_a_long_sentence_its_beginning_counts(card: dict[str, Any]) -> None:
    model, start = network(card=card).eval(), "a fine film " * 30
    answers = [TASK.answer(model, frame(start + end), card) for end in ("", "a dull plot")]
    pd.testing.assert_frame_equal(*answers)


@pytest.mark.parametrize("text", ["☃", "\u200b", "\x00", "🙂🙂", "x" * 5000, "a\u0085b"])
def test_any_text_gets_an_answer(text: str, card: dict[str, Any]) -> None:
    answer = TASK.answer(network(card=card).eval(), frame(text), card)
    assert len(answer) == 1 and np.isfinite(answer["confidence"]).all()


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (pd.DataFrame({"sentence": ["a"]}), r"found the columns \['sentence'\]; expected one column `text`"),
        (frame("a", " "), "row 1: found ' '; expected a sentence"),
        (frame(None), "row 0: found None; expected a sentence"),
        (frame(3), "row 0: found 3; expected a sentence"),
    ],
)
def test_a_request_that_cannot_be_answered_is_refused_in_one_sentence(
    request_: pd.DataFrame, message: str, card: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        TASK.answer(network(card=card).eval(), request_, card)
    assert "\n" not in str(caught.value)


def test_a_request_without_rows_gets_an_empty_answer(card: dict[str, Any]) -> None:
    answer = TASK.answer(network(card=card).eval(), frame(), card)
    assert list(answer) == ["class", "confidence", "bad", "good"] and len(answer) == 0


def test_a_missing_extra_is_one_clear_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    part = LabelledText([*PRAISE, *BLAME], np.array(["good"] * 9 + ["bad"] * 9))
    with pytest.raises(ValueError, match=r"^tasks with text need the extra `text`: pip install -e '\.\[text\]'$"):
        prepare_labelled_text({"all": part}, {"validation": 0.2, "test": 0.2}, 0, **SETTINGS)


@pytest.mark.parametrize("right", [0, 1, 40])
def test_sentences_are_drawn_whatever_was_right_and_whatever_stands_in_them(right: int, tmp_path: Path) -> None:
    texts = ["$ \\frac{1 % of a long sentence " * 9 + str(number) for number in range(40)]
    predictions = pd.DataFrame({"example": range(40), "label": 0, "predicted": [0] * right + [1] * (40 - right)})
    predictions["confidence"] = np.linspace(0.5, 1, 40)
    path = labelled_sentences(predictions, texts, {"classes": ["$bad$", "good"]}, tmp_path / "a.png", "a model")
    assert path.read_bytes().startswith(b"\x89PNG")
