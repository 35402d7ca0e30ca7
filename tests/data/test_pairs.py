"""Parallel text: every fault names file and line, tokens are fitted on train, and texts come back from them."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from pipeline.data.tokens import END, UNKNOWN, Tokenizer, as_bytes, as_texts, fit_tokenizer
from pipeline.formats import parallel_text
from pipeline.formats.contents import normalised
from pipeline.formats.records import Pairs
from pipeline.tasks.translation.preparation import prepare_pairs

TEXT = [f"the {word} is {colour}" for word in ("cat", "dog", "bird", "Straße") for colour in ("red", "green", "blue")]
SETTINGS = {"vocabulary": 60, "lowercase": True, "longest": 40}


def written(folder: Path, **files: bytes) -> Path:
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def test_lines_belong_together_and_lose_their_outer_blanks(tmp_path: Path) -> None:
    written(tmp_path, de=gzip.compress("\ufeffEin Hund.\r\nZwei\u0085Hunde. \n".encode()), en=b"A dog.\nTwo dogs.\n")
    assert parallel_text(tmp_path, source="de", target="en") == Pairs(
        ["Ein Hund.", "Zwei\u0085Hunde."], ["A dog.", "Two dogs."]
    )


@pytest.mark.parametrize(
    ("de", "message"),
    [
        (b"eins\nzwei\n", r"de has 2 lines, but en has 3; name two files"),
        (b"eins\n \ndrei\n", r"de, line 2: found an empty line"),
        (b"eins\nzw\xe4i\ndrei\n", r"de, line 2: not UTF-8"),
        (gzip.compress(b"eins\n" * 9000, mtime=0)[:-20], r"de: the gzip file is damaged after line \d+"),
        (b"", r"de: the file is empty"),
    ],
    ids=["lengths", "empty line", "encoding", "damaged", "empty"],
)
def test_faults_name_file_and_line(tmp_path: Path, de: bytes, message: str) -> None:
    written(tmp_path, de=de, en=b"one\ntwo\nthree\n")
    with pytest.raises(ValueError, match=message):
        parallel_text(tmp_path, source="de", target="en")


def test_tokens_are_those_of_train_and_give_the_text_back() -> None:
    prepared = prepare_pairs({"all": Pairs(TEXT, TEXT)}, {"validation": 0.2, "test": 0.2}, 0, **SETTINGS)
    card, table = prepared.card, prepared.tables["test"]
    tokenizer = Tokenizer(card["target_tokenizer"])
    assert card["counts"] == {"train": 8, "validation": 2, "test": 2}
    assert tokenizer.decode(table["target"].tolist()) == as_texts(table["reference"])
    assert set(as_texts(table["reference"])) <= {text.lower() for text in TEXT}
    assert [row[length - 1] for row, length in zip(table["target"], table["target_lengths"], strict=True)] == [END, END]
    again = prepare_pairs({"all": Pairs(TEXT, TEXT)}, {"validation": 0.2, "test": 0.2}, 0, **SETTINGS)
    assert again.card == card and np.array_equal(again.tables["train"]["source"], prepared.tables["train"]["source"])
    other = Tokenizer(fit_tokenizer(["abc cab bca"] * 3, 16))
    assert UNKNOWN in other.encode(["xyz"])[0]


def test_published_parts_stay_and_long_pairs_of_train_are_left_out_and_counted() -> None:
    train, test = Pairs([*TEXT, "the cat " * 60], [*TEXT, "the cat"]), Pairs(TEXT[:2], TEXT[:2])
    prepared = prepare_pairs({"train": train, "test": test}, {"validation": 0.25, "test": None}, 0, **SETTINGS)
    left = prepared.card["counts"]["train"] + prepared.card["counts"]["validation"]
    assert prepared.card["counts"]["test"] == 2 and left in (12, 13)
    said = prepared.card["warnings"]
    assert (left == 12) == ("1 pairs of train with more than 40 tokens on a side are left out" in said)
    assert any(line.endswith("pairs of test are also in train") for line in said)


def test_a_vocabulary_that_train_cannot_fill_is_named() -> None:
    with pytest.raises(ValueError, match=r"settings\.vocabulary: found 9000; the sentences of train"):
        fit_tokenizer(TEXT, 9000)


def test_texts_are_normalised_and_kept_as_bytes() -> None:
    assert normalised("  ﬁne \t Ｃafé ", lowercase=True) == "fine café"
    assert as_texts(as_bytes(["", "Straße", "☃"])) == ["", "Straße", "☃"]
