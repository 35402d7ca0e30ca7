import errno
import json
import os
import struct
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.data import tables
from pipeline.data.tables import Prepared, read_card, read_table, write
from pipeline.files.atomic import replaced_folder
from pipeline.files.digests import file_digest


def example(**card) -> Prepared:
    table = {"values": np.arange(6, dtype=np.float32).reshape(3, 2), "labels": np.arange(3)}
    return complete(dict.fromkeys(("train", "validation", "test"), table), {"warnings": [], "classes": ["a"], **card})


def complete(tables, card) -> Prepared:
    digests = {part: np.arange(3, dtype=np.uint64) for part in tables}
    return Prepared(tables, card, pd.DataFrame({"text": ["a", "b", "c"]}), digests)


def bytes_below(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_tables_and_card_come_back_as_they_were_written(tmp_path):
    card = write(example(name="ü"), tmp_path / "x")
    table = read_table(tmp_path / "x", "test")
    assert table["values"].tolist() == [[0, 1], [2, 3], [4, 5]] and str(table["labels"].dtype) == "torch.int64"
    assert read_card(tmp_path / "x") == card
    assert card["digests"]["train"] == file_digest(tmp_path / "x" / "train.safetensors")
    assert sorted(bytes_below(tmp_path / "x")) == [
        "card.json",
        "examples.safetensors",
        "requests.parquet",
        "test.safetensors",
        "train.safetensors",
        "validation.safetensors",
    ]


def test_the_same_content_gives_the_same_bytes_whatever_the_memory_layout(tmp_path):
    write(example(), tmp_path / "a")
    turned = {name: np.asfortranarray(array) for name, array in example().tables["train"].items()}
    write(complete(dict.fromkeys(("test", "validation", "train"), turned), example().card), tmp_path / "b")
    assert bytes_below(tmp_path / "a") == bytes_below(tmp_path / "b")


def test_the_data_digest_covers_the_meaning_but_not_the_warnings(tmp_path):
    digest = write(example(), tmp_path / "a")["data"]
    assert write(example(warnings=["few examples"]), tmp_path / "a")["data"] == digest
    assert write(example(classes=["b"]), tmp_path / "a")["data"] != digest


def test_card_is_sorted_json_and_everyone_can_read_the_files(tmp_path):
    write(example(), tmp_path / "a")
    text = (tmp_path / "a" / "card.json").read_text(encoding="utf-8")
    assert text == json.dumps(json.loads(text), indent=2, sort_keys=True) + "\n"
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "a").iterdir()}
    mask = os.umask(0)
    os.umask(mask)
    assert modes == {0o666 & ~mask}


def test_tables_carry_no_metadata(tmp_path):
    write(example(), tmp_path / "a")
    data = (tmp_path / "a" / "train.safetensors").read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    assert sorted(json.loads(data[8 : 8 + size])) == ["labels", "values"]


def test_a_failure_leaves_what_was_there(tmp_path):
    write(example(), tmp_path / "a")
    before = bytes_below(tmp_path / "a")
    with pytest.raises(ValueError, match="JSON"):
        write(example(mean=float("nan")), tmp_path / "a")
    assert bytes_below(tmp_path / "a") == before and [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="needs /dev/full (Linux)")
def test_a_full_disk_is_told_and_leaves_nothing(tmp_path, monkeypatch):
    write(example(), tmp_path / "a")
    before = bytes_below(tmp_path / "a")
    monkeypatch.setattr(tables, "_table_file", lambda folder, split: Path("/dev/full"))
    with pytest.raises(ValueError, match="a: no space left on the disk; free some") as caught:
        write(example(), tmp_path / "a")
    assert type(caught.value) is ValueError
    assert bytes_below(tmp_path / "a") == before and [path.name for path in tmp_path.iterdir()] == ["a"]


def test_other_errors_of_the_system_pass(tmp_path):
    with pytest.raises(OSError) as caught, replaced_folder(tmp_path / "a"):
        raise OSError(errno.EIO, "broken disk")
    assert caught.value.errno == errno.EIO and not list(tmp_path.iterdir())


def test_leftovers_of_a_killed_run_do_not_disturb(tmp_path):
    for name in (".a.pipeline-new", ".a.pipeline-old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "junk").write_text("x")
    write(example(), tmp_path / "a")
    assert [path.name for path in tmp_path.iterdir()] == ["a"] and len(bytes_below(tmp_path / "a")) == 6


def test_a_run_killed_between_the_two_renames_loses_nothing(tmp_path):
    write(example(), tmp_path / "a")
    (tmp_path / "a").rename(tmp_path / ".a.pipeline-old")
    with pytest.raises(ValueError, match="JSON"):
        write(example(mean=float("nan")), tmp_path / "a")
    assert read_card(tmp_path / "a")["classes"] == ["a"]


def test_missing_and_damaged_files_say_what_to_do(tmp_path):
    with pytest.raises(ValueError, match=r"card.json is missing; run `dvc repro`"):
        read_card(tmp_path)
    with pytest.raises(ValueError, match=r"train.safetensors is missing; run `dvc repro`"):
        read_table(tmp_path, "train")
    write(example(), tmp_path / "a")
    (tmp_path / "a" / "train.safetensors").write_bytes(b"short")
    (tmp_path / "a" / "card.json").write_text("{")
    with pytest.raises(ValueError, match=r"train.safetensors is damaged"):
        read_table(tmp_path / "a", "train")
    with pytest.raises(ValueError, match=r"card.json is damaged"):
        read_card(tmp_path / "a")
