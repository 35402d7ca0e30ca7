"""Labelled sentences: every fault names file and line, tokens are fitted on train, and what is odd is said."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.data.tokens import PAD, UNKNOWN, Tokenizer, as_texts
from pipeline.formats import labelled_text
from pipeline.formats.records import LabelledText, Pairs
from pipeline.tasks.sentiment_analysis.preparation import prepare_labelled_text, token_table

SHARED = Path(__file__).parents[3] / "shared" / "data" / "sst2"
WORDS = ("fine", "warm", "lovely", "dull", "stale", "clumsy")
SETTINGS: dict[str, Any] = {"vocabulary": 60, "lowercase": True, "longest": 40}
NAMES = {"0": "negative", "1": "positive"}


def written(folder: Path, content: bytes) -> Path:
    (folder / "a.tsv").write_bytes(content)
    return folder


def part(*sentences: str, labels: list[str] | None = None) -> LabelledText:
    return LabelledText(list(sentences), np.array(labels or ["bad", "good"] * (len(sentences) // 2)))


TRAIN = part(*(f"the {thing} is {word}" for thing in ("film", "plot") for word in WORDS))


def test_a_header_above_words_is_no_sentence_either(tmp_path: Path) -> None:
    found = labelled_text(written(tmp_path, b"sentence\tlabel\na fine film\tpos\ndull\tneg\n"), file="a.tsv")
    assert found.texts == ["a fine film", "dull"] and "'sentence', is a header" in found.warnings[0]
    found = labelled_text(written(tmp_path, b"sentence\tlabel\na fine film\tlabel\n"), file="a.tsv")
    assert found.texts == ["sentence", "a fine film"], "a class of that name"


def test_sentences_keep_their_quotation_marks_and_odd_signs(tmp_path: Path) -> None:
    text = '\ufeffa "fine" film\t1\r\n it \u0085 ca n\'t ,  win \t 0 \n"\t1\n'
    found = labelled_text(written(tmp_path, gzip.compress(text.encode())), file="a.tsv")
    assert found.texts == ['a "fine" film', "it \u0085 ca n't ,  win", '"']
    assert found.labels.tolist() == [1, 0, 1] and found.labels.dtype == np.int64 and found.warnings == ()


def test_labels_may_be_words_or_get_names(tmp_path: Path) -> None:
    assert labelled_text(written(tmp_path, b"a\tgood\nb\tbad\n"), file="a.tsv").labels.tolist() == ["good", "bad"]
    found = labelled_text(written(tmp_path, b"a\t1\nb\t0\n"), file="a.tsv", classes=NAMES)
    assert found.labels.tolist() == ["positive", "negative"]


@pytest.mark.parametrize("classes", [None, NAMES])
def test_a_header_above_numbers_is_no_sentence_and_that_is_said(tmp_path: Path, classes: dict[str, str] | None) -> None:
    found = labelled_text(written(tmp_path, b"sentence\tlabel\nfine\t1\ndull\t0\n"), file="a.tsv", classes=classes)
    assert found.texts == ["fine", "dull"] and len(found.labels) == 2
    assert [warning.endswith("a.tsv: the first line, 'sentence', is a header and no sentence")
            for warning in found.warnings] == [True]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"fine\t1\ndull\n", r"a\.tsv, line 2: found 1 fields; allowed: a sentence, a tab and its label"),
        (b"fine\t1\n\t0\n", r"a\.tsv, line 2: found 1 fields"),
        (b"fine\t1\nvery\tdull\t0\n", r"a\.tsv, line 2: found 3 fields"),
        (b"fine\t1\n\ndull\t0\n", r"a\.tsv, line 2: found an empty line"),
        (b"fine\t1\nd\xfcll\t0\n", r"a\.tsv, line 2: not UTF-8"),
        (b"fine\t1\ndull\t2\n", r"a\.tsv, line 2: found the label '2'; data\.options\.classes knows 0, 1"),
        (b"text\tlabel\nfine\t1\ndull\t2\n", r"a\.tsv, line 3: found the label '2'"),
        (gzip.compress(b"fine\t1\n" * 9000, mtime=0)[:-20], r"a\.tsv: the gzip file is damaged after line \d+"),
        (b"", r"a\.tsv: the file is empty"),
    ],
    ids=[
        "no label",
        "no sentence",
        "two tabs",
        "empty line",
        "encoding",
        "label",
        "below a header",
        "damaged",
        "empty",
    ],
)
def test_faults_name_file_and_line(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        labelled_text(written(tmp_path, content), file="a.tsv", classes=NAMES)


def test_tokens_are_fitted_on_train_alone_and_text_stays_as_it_was() -> None:
    test = part("the Film is QUIET", "the plot is warm")
    prepared = prepare_labelled_text({"train": TRAIN, "test": test}, {"validation": 0.2, "test": None}, 0, **SETTINGS)
    card, table = prepared.card, prepared.tables["test"]
    assert card["counts"] == {"train": 10, "validation": 2, "test": 2} and card["classes"] == ["bad", "good"]
    assert as_texts(table["text"]) == ["the film is quiet", "the plot is warm"]
    assert UNKNOWN in table["tokens"][0] and UNKNOWN not in table["tokens"][1], "no q in train"
    tokenizer = Tokenizer(card["tokenizer"])
    assert len(tokenizer) == card["vocabulary"] and tokenizer.decode(table["tokens"].tolist())[1] == "the plot is warm"
    for row, length in zip(table["tokens"], table["lengths"], strict=True):
        assert (row[length:] == PAD).all() and (row[:length] != PAD).all()
    again = prepare_labelled_text({"train": TRAIN, "test": test}, {"validation": 0.2, "test": None}, 0, **SETTINGS)
    assert again.card == card and np.array_equal(again.tables["train"]["tokens"], prepared.tables["train"]["tokens"])


def test_what_is_odd_about_the_sentences_is_said() -> None:
    train = LabelledText([*TRAIN.texts, "the film is fine"], np.append(TRAIN.labels, "good"), ("a header",))
    test = part("the plot is warm", "the plot is stale", "the plot is the plot is the plot is stale", "dull")
    parts = {"train": train, "validation": part("new", "newer"), "test": test}
    said = prepare_labelled_text(parts, {"validation": None, "test": None}, 0, **SETTINGS | {"longest": 6}).card
    warnings = said["warnings"]
    assert warnings[0] == "a header"
    assert "2 of 4 sentences of test are also in train, word by word" in warnings
    assert "1 sentences of train stand there with more than one label" in warnings
    assert any(
        line.startswith("1 sentences of test have more than 6 tokens, of which the first 6") for line in warnings
    )


def test_a_sentence_has_at_least_one_token_and_at_most_so_many() -> None:
    found = token_table([[5, 6, 7], [], [8]], 2)
    assert found["tokens"].tolist() == [[5, 6], [UNKNOWN, PAD], [8, PAD]] and found["lengths"].tolist() == [2, 1, 1]


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"train": TRAIN, "test": part("a", "b", labels=["bad", "awful"])}, "part test has examples of class 'awful'"),
        ({"all": part("a", "b", labels=["bad", "bad"])}, "found one class only, 'bad'"),
        ({"all": Pairs(["a"], ["b"])}, "part all holds Pairs; choose a data.format that reads labelled sentences"),
    ],
)
def test_parts_that_do_not_fit_are_refused(parts: dict[str, Any], message: str) -> None:
    split = {"validation": 0.2, "test": None if "test" in parts else 0.2}
    with pytest.raises(ValueError, match=message):
        prepare_labelled_text(parts, split, 0, **SETTINGS)


def test_sst2_is_read_as_published() -> None:
    if not SHARED.is_dir():
        pytest.skip("the files of SST-2 are not on this machine (../shared/data/sst2)")
    parts = {name: labelled_text(SHARED, file=f"{name}.tsv", classes=NAMES) for name in ("train", "dev", "test")}
    counts = {name: np.unique(found.labels, return_counts=True)[1].tolist() for name, found in parts.items()}
    assert counts == {"train": [3310, 3610], "dev": [428, 444], "test": [912, 909]}  # negative, positive
    assert len(set(parts["train"].texts) & set(parts["test"].texts)) == 2
