import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline.data.tables import read_card, read_table
from pipeline.params import Data, ParamsError, Split
from pipeline.stages.prepare import main

ROOT = Path(__file__).parents[2]
TRAIN = "".join(f"{number % 8},{number % 7},{'ab'[number % 2]}\n" for number in range(40))
TEST = "".join(f"{number % 5},{number % 8},{'ab'[number % 2]}\n" for number in range(24))


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/raw/tiny").mkdir(parents=True)
    (tmp_path / "data/raw/tiny/train.csv").write_text(TRAIN)
    (tmp_path / "data/raw/tiny/test.csv").write_text(TEST)
    return tmp_path


def experiment(**changes):
    data = {
        "path": "data/raw/tiny",
        "format": "pixel_table",
        "options": {"height": 1, "width": 2, "channels": 1, "maximum": 7},
        "parts": {"train": {"file": "train.csv"}, "test": {"file": "test.csv"}},
    }
    entry = SimpleNamespace(
        task="image_classification",
        settings={},
        data=Data.model_validate(data | changes),
        split=Split(validation=0.25, test=None),
    )
    return SimpleNamespace(experiments={"tiny": entry}, seed=0)


def test_tables_and_card_are_made_from_the_parts(here, capsys):
    main("tiny", experiment())
    card = read_card(here / "data/prepared/tiny")
    assert card["task"] == "image_classification" and card["counts"] == {"train": 30, "validation": 10, "test": 24}
    assert read_table(here / "data/prepared/tiny", "test")["rows"].tolist() == list(range(40, 64))
    printed = capsys.readouterr().out
    assert printed.startswith("prepare: 30 train, 10 validation, 24 test → data/prepared/tiny (data ")
    assert printed.endswith(
        "prepare: test: 24 examples; a later model can replace a champion that is right on 90 % only from about 60 "
        "test examples on\n"
    )
    assert printed.count("\n") == 2


def test_warnings_are_in_the_card_and_in_the_log(here, caplog):
    main("tiny", experiment())
    (first, *_) = read_card(here / "data/prepared/tiny")["warnings"]
    assert f"tiny: {first}" in caplog.text and "are also in" in first


def test_every_run_gives_the_same_bytes(here):
    main("tiny", experiment())
    before = {path.name: path.read_bytes() for path in (here / "data/prepared/tiny").iterdir()}
    main("tiny", experiment())
    assert before == {path.name: path.read_bytes() for path in (here / "data/prepared/tiny").iterdir()}
    assert len(before) == 4 and b"/tmp" not in b"".join(before.values())


def test_bad_data_leaves_what_was_prepared_before(here):
    main("tiny", experiment())
    before = (here / "data/prepared/tiny/card.json").read_bytes()
    (here / "data/raw/tiny/test.csv").write_text(TEST + "1,x,a\n")
    with pytest.raises(ValueError, match=r"test.csv, line 25, column 2: found 'x'") as caught:
        main("tiny", experiment())
    assert type(caught.value) is ValueError
    assert (here / "data/prepared/tiny/card.json").read_bytes() == before
    assert [path.name for path in (here / "data/prepared").iterdir()] == ["tiny"]


def test_a_class_of_test_alone_is_refused(here):
    (here / "data/raw/tiny/test.csv").write_text("1,1,c\n")
    with pytest.raises(ValueError, match="part test has examples of class 'c', which is not in train"):
        main("tiny", experiment())
    assert not (here / "data/prepared/tiny").exists()


def test_a_format_that_does_not_fit_the_task_is_refused(here):
    (here / "data/raw/tiny/s.csv").write_text("date,a\n2020,1\n2021,2\n")
    options = {"file": "s.csv", "date": "date", "date_format": "%Y", "columns": ["a"]}
    changes = {"format": "csv_series", "options": options, "parts": {"train": {}, "test": {}}}
    with pytest.raises(ValueError, match=r"choose a data\.format that reads images"):
        main("tiny", experiment(**changes))


def test_an_unknown_experiment_is_named_with_the_nearest(here):
    with pytest.raises(ParamsError, match=r"experiment: found tyni; allowed: tiny; did you mean `tiny`"):
        main("tyni", experiment())


def test_prepare_imports_neither_lightning_nor_mlflow():
    code = "import sys, json; import pipeline.stages.prepare; from pipeline.tasks import TASKS, load_task; "
    code += "from importlib import import_module; [import_module(name.split(':')[0]) for name in TASKS.values()]; "
    code += "print(json.dumps(sorted({'pytorch_lightning', 'mlflow', 'optuna', 'sklearn'} & set(sys.modules))))"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(found.stdout) == []
