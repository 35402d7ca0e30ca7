"""A user's file becomes the request that the served model takes, for every task."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.data.tables import read_card, read_table
from pipeline.params import load
from pipeline.tasks import TASKS, load_task
from pipeline.tasks.request_files import READERS

TINY = load(Path(__file__).parents[1] / "tiny.yaml")


def pictures(request: pd.DataFrame, folder: Path) -> list[Path]:
    files = [folder / f"{row}.png" for row in range(len(request))]
    for file, data in zip(files, request["image"], strict=True):
        file.write_bytes(data)
    return files


def recordings(request: pd.DataFrame, folder: Path) -> list[Path]:
    files = [folder / f"{row}.wav" for row in range(len(request))]
    for file, data in zip(files, request["audio"], strict=True):
        file.write_bytes(data)
    return files


def lines(request: pd.DataFrame, folder: Path) -> list[Path]:
    (folder / "text.gz").write_bytes(gzip.compress("".join(f"{text}\r\n" for text in request["text"]).encode()))
    return [folder / "text.gz"]


def csv(request: pd.DataFrame, folder: Path) -> list[Path]:
    request.to_csv(folder / "table.csv", index=False)
    return [folder / "table.csv"]


def dated_csv(request: pd.DataFrame, folder: Path) -> list[Path]:
    """As the raw data have it: tests/tiny.yaml says %Y%m%d."""
    return csv(request.assign(date=pd.to_datetime(request["date"]).dt.strftime("%Y%m%d")), folder)


# How a request is written into files of each kind. A task with a kind of its own brings a writer, too.
WRITERS: dict[str, Callable[[pd.DataFrame, Path], list[Path]]] = {
    "picture": pictures,
    "recording": recordings,
    "text": lines,
    "history": dated_csv,
    "series": csv,
    "draws": csv,
}


def test_every_kind_of_file_is_written_here_and_read_by_a_task_or_the_default() -> None:
    assert set(WRITERS) == set(READERS)


@pytest.mark.parametrize("task", TASKS)
def test_the_example_of_a_task_is_the_same_request_when_it_comes_from_files(
    task: str, prepared: Path, tmp_path: Path
) -> None:
    name = next(name for name, experiment in TINY.experiments.items() if experiment.task == task)
    experiment, folder = TINY.experiments[name], prepared / "data/prepared" / name
    found, card = load_task(task, experiment.settings), read_card(folder)
    request = found.input_example(read_table(folder, "test"), card)
    files = WRITERS[found.reads](request, tmp_path)
    parts = [found.request(file, card, experiment.data.options) for file in files]
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), request, check_dtype=False)


def test_draws_have_the_types_that_a_served_model_asks_for_also_where_classes_are_numbers(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text(" seed ,label,samples\n7,3,2\n,,1\n", encoding="utf-8")
    found = READERS["draws"](tmp_path / "d.csv", {}, {})
    assert found["samples"].dtype == np.int64 and found["samples"].tolist() == [2, 1]
    assert found["label"].tolist() == ["3", None]
    assert found["seed"].dtype == np.float64 and found["seed"].isna().tolist() == [False, True]
    (tmp_path / "d.csv").write_text("samples\n5\n", encoding="utf-8")
    assert READERS["draws"](tmp_path / "d.csv", {}, {}).to_dict(orient="list") == {"samples": [5]}
    (tmp_path / "d.csv").write_text("samples,seed\n5,1.5\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"line 2, column 'seed': found '1\.5'; allowed: a whole number"):
        READERS["draws"](tmp_path / "d.csv", {}, {})


def test_gaps_in_a_history_are_missing_values_and_other_columns_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "h.csv").write_text("day,note,a,day\nx,w,1,01.02.2020\n", encoding="utf-8")
    with pytest.raises(ValueError, match="column 'day' occurs 2 times"):
        READERS["history"](tmp_path / "h.csv", {"columns": ["a"]}, {"date": "day", "date_format": "%d.%m.%Y"})
    (tmp_path / "h.csv").write_text("note,a,day\nw,1,01.02.2020\nw,NA,02.02.2020\n", encoding="utf-8")
    found = READERS["history"](tmp_path / "h.csv", {"columns": ["a"]}, {"date": "day", "date_format": "%d.%m.%Y"})
    assert found["date"].tolist() == ["2020-02-01 00:00:00", "2020-02-02 00:00:00"]
    assert list(found) == ["date", "a"] and np.isnan(found["a"]).tolist() == [False, True]


def test_the_names_of_series_come_from_their_column(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("a,series\n1,x\n?,x\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"s\.csv, line 3, column 'a': found '\?'; allowed: a number, or blank"):
        READERS["series"](tmp_path / "s.csv", {"columns": ["a"]}, {})
    (tmp_path / "s.csv").write_text("a,series\n1,x\n,x\n2, \n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"line 4, column 'series': the name of the series is missing"):
        READERS["series"](tmp_path / "s.csv", {"columns": ["a"]}, {})
    (tmp_path / "s.csv").write_text("a,series\n1,x\n,x\n2,y\n", encoding="utf-8")
    found = READERS["series"](tmp_path / "s.csv", {"columns": ["a"]}, {})
    assert found["series"].tolist() == ["x", "x", "y"] and np.isnan(found["a"]).tolist() == [False, True, False]
