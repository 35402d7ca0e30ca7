"""The .ts format: what its readers elsewhere accept is read, and every fault is named by file and line."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from pipeline.formats import ts
from pipeline.formats.records import LabelledSeries

HEADER = "# a comment\n@problemName p\n@timeStamps false\n@univariate false\n@classLabel true a b\n@data\n"
SHARED = Path(__file__).parents[3] / "shared" / "data" / "ucr"


def read(folder: Path, text: str | bytes, name: str = "t.ts") -> LabelledSeries:
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return ts(folder, file=name)


def complaint(folder: Path, text: str | bytes) -> str:
    with pytest.raises(ValueError) as caught:
        read(folder, text)
    assert type(caught.value) is ValueError and "\n" not in str(caught.value)
    return str(caught.value)


def test_channels_values_and_labels_are_read_in_their_order(tmp_path):
    found = read(tmp_path, HEADER + "1,2,3:4,5,6:a\n-1.5, 2e3 :0,0: b\n")
    assert [values.tolist() for values in found.values] == [[[1, 2, 3], [4, 5, 6]], [[-1.5, 2000], [0, 0]]]
    assert found.labels.tolist() == ["a", "b"] and found.channels == ["channel_1", "channel_2"]
    assert found.warnings == ()


def test_one_channel_is_called_value(tmp_path):
    assert read(tmp_path, "@data\n1,2:a\n3:b\n").channels == ["value"]


def test_a_header_may_differ_in_case_lack_keys_and_hold_others(tmp_path):
    header = "@PROBLEMNAME p\n@CLASSLABEL TRUE a b\n@seriesLength 0\n@DIMENSION 1\n@source somewhere else\n@DATA\n"
    found = read(tmp_path, header + "1,2:a\n")
    assert found.values[0].tolist() == [[1, 2]]
    assert found.warnings == ("t.ts: the header has @source, ignored",)


def test_byte_order_mark_windows_lines_blank_lines_and_gzip_are_read(tmp_path):
    text = ("\ufeff" + HEADER).replace("\n", "\r\n") + "1,2:3,4:a\r\n\r\n# between\r\n5,6:7,8:b\r\n"
    for data in (text.encode(), gzip.compress(text.encode())):
        found = read(tmp_path, data)
        assert [values.tolist() for values in found.values] == [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]


def test_missing_values_are_question_marks_or_nan(tmp_path):
    found = read(tmp_path, HEADER + "1,?,3:NaN,5,nan:a\n").values[0]
    assert np.isnan(found).tolist() == [[False, True, False], [True, False, True]]


def test_numeric_labels_sort_as_numbers_and_others_stay_as_they_are_written(tmp_path):
    data = "@classLabel true 10 9 -1\n@data\n1:10\n1:9\n1:-1\n"
    assert np.unique(read(tmp_path, data).labels).tolist() == [-1, 9, 10]
    assert read(tmp_path, "@data\n1:1.0\n1:2.0\n").labels.tolist() == ["1.0", "2.0"]
    assert read(tmp_path, "@data\n1:01\n1:2\n").labels.tolist() == ["01", "2"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # the header
        ("", ["the file is empty"]),
        ("\n# nothing\n", ["no line @data"]),
        ("@problemName p\n@classLabel true a\n", ["no line @data", "whole?"]),
        ("1,2:a\n3,4:b\n", ["line 1: found '1,2:a' before @data", "a header"]),
        ("@problemName p\n1,2:a\n@data\n", ["line 2: found '1,2:a' before @data"]),
        ("@timeStamps true\n@data\n(0,1):a\n", ["line 1: found time stamps", "@timeStamps false"]),
        ("@univariate yes\n@data\n1:a\n", ["line 1: found 'yes' for @univariate", "true, false"]),
        ("@dimensions two\n@data\n1:a\n", ["line 1: found 'two' for @dimensions", "a whole number from 1"]),
        ("@dimensions 0\n@data\n1:a\n", ["line 1: found '0' for @dimensions"]),
        ("@classLabel false\n@data\n1\n", ["line 1: found @classLabel false", "a label for every series"]),
        ("@targetLabel true\n@data\n1:2\n", ["line 1: found @targetLabel true", "@classLabel true"]),
        (HEADER, ["no series below @data"]),
        # the series
        (HEADER + "1,2:3,4:a\n1,2:a\n", ["line 8: found 1 channels", "allowed: 2"]),
        ("@univariate true\n@data\n1,2:3,4:a\n", ["line 3: found 2 channels", "allowed: 1"]),
        ("@dimensions 3\n@data\n1,2:3,4:a\n", ["line 3: found 2 channels", "allowed: 3"]),
        ("@data\n1,2,a\n", ["line 2: found 0 channels", "separated by colons"]),
        (HEADER + "1,2:3,4:a\n1,2:3,4,5:b\n", ["line 8, channel 2: found 3 values where channel 1 has 2"]),
        (HEADER + "1,2:3,x:a\n", ["line 7, channel 2, value 2: found 'x'", "? where it is missing"]),
        (HEADER + "1,2:3,:a\n", ["line 7, channel 2, value 2: found ''"]),
        (HEADER + "1,2:3,1_000:a\n", ["line 7, channel 2, value 2: found '1_000'"]),
        (HEADER + "1,inf:3,4:a\n", ["line 7, channel 1, value 2: found 'inf'"]),
        (HEADER + "1,2:?,NaN:a\n", ["line 7, channel 2: has no value at all"]),
        ("@seriesLength 3\n@data\n1,2,3:a\n1,2:b\n", ["line 4, channel 1: found 2 values", "3 (@seriesLength)"]),
        (HEADER + "1:2:c\n", ["line 7: found the label 'c'", "a, b (@classLabel)"]),
        (HEADER + "1:2: \n", ["line 7: the label is missing"]),
        (HEADER.encode() + b"1:2:a\n1:2:\xe9\n", ["line 8: not UTF-8", "save the file as UTF-8"]),
        (("\ufeff" + HEADER).encode("utf-16-le"), ["line 1: not UTF-8"]),
        (gzip.compress(b"# a comment\n" * 5000)[:-20], ["gzip file is damaged"]),
    ],
)
def test_a_fault_is_named_by_file_and_line(tmp_path, text, expected):
    message = complaint(tmp_path, text)
    assert all(part in message for part in ["t.ts", *expected]), message


def test_a_value_of_thousands_of_letters_is_not_repeated_in_full(tmp_path):
    assert len(complaint(tmp_path, HEADER + "1," + "x" * 10_000 + ":1,2:a\n")) < 300


@pytest.mark.skipif(not SHARED.is_dir(), reason="the archive's files are not on this machine")
@pytest.mark.parametrize(
    ("name", "train", "test", "channels", "steps", "classes"),
    [
        ("GunPoint", 50, 150, 1, (150, 150), 2),
        ("ItalyPowerDemand", 67, 1029, 1, (24, 24), 2),
        ("ArrowHead", 36, 175, 1, (251, 251), 3),
        ("OSULeaf", 200, 242, 1, (427, 427), 6),
        ("JapaneseVowels", 270, 370, 12, (7, 29), 9),
    ],
)
def test_files_of_the_archive_are_read(name, train, test, channels, steps, classes):
    parts = [ts(SHARED / name, file=f"{name}_{part}.ts") for part in ("TRAIN", "TEST")]
    assert [len(part.values) for part in parts] == [train, test]
    lengths = [values.shape[1] for part in parts for values in part.values]
    assert (min(lengths), max(lengths)) == steps
    assert {values.shape[0] for part in parts for values in part.values} == {channels}
    assert len(np.unique(parts[0].labels)) == len(np.unique(parts[1].labels)) == classes
