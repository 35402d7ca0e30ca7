"""`python -m pipeline predict`: the champion answers files of every task; what cannot be answered leaves no trace."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from registered import packaged

from pipeline.__main__ import main
from pipeline.registry.store import Store, store_with_versions
from pipeline.serving import preflight, probe

CHAMPIONS = {
    "digits": "digits-cnn",
    "co2": "co2-rnn",
    "pairs": "pairs-rnn",
    "waves": "waves-cnn",
    "shapes": "shapes-cnn",
}
Said = tuple[int, str, str]


@pytest.fixture(scope="module")
def template(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with tests/tiny.yaml and a store in which every experiment has an untrained champion."""
    from pipeline.params import Tracking
    from pipeline.tracking.address import address_of
    from pipeline.tracking.client import connect, experiment_id

    root = tmp_path_factory.mktemp("predict")
    shutil.copy(prepared / "params.yaml", root)
    (root / "raw").symlink_to(prepared / "data/raw")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.chdir(root)
        address = address_of(Tracking(uri=None, artifacts=None), root)
        client = connect(address)
        for experiment, candidate in CHAMPIONS.items():
            folder = packaged(prepared, candidate, root / "made" / candidate)
            store = Store(client, address, experiment, experiment_id(client, address, experiment, ""), "")
            tags = {"pipeline.key": f"key of {candidate}", "pipeline.candidate": candidate}
            store.point("champion", store.add(folder, tags, None))
    return root


@pytest.fixture
def repository(template: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """The working directory; models answer in this process unless a test asks for `in_earnest`."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(template)
    if "in_earnest" not in request.fixturenames:
        monkeypatch.setattr(preflight, "probed", lambda folder, asked, *_: probe._answered({**asked, "folder": folder}))
    return template


@pytest.fixture
def predict(repository: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Calls the command line: exit code, output and complaints."""

    def call(*arguments: object) -> Said:
        capfd.readouterr()
        code = main(["predict", *map(str, arguments)])
        said = capfd.readouterr()
        return code, said.out, said.err

    return call


def picture(path: Path, *, turned: bool = False) -> Path:
    """A colour photograph of 60 × 40 pixels; `turned`: stored lying, with the orientation in EXIF."""
    exif = Image.Exif()
    exif[0x0112] = 6 if turned else 1
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60, 3)).astype(np.uint8)).save(path, exif=exif)
    return path


def rows_of(said: str) -> Any:
    return json.loads(said)


def test_pictures_are_classified_a_row_each(predict: Callable[..., Said], tmp_path: Path) -> None:
    files = [picture(tmp_path / "a.jpg"), picture(tmp_path / "b.png", turned=True)]
    code, out, err = predict("digits", *files, "--format", "csv")
    assert (code, err) == (0, "")
    table = pd.read_csv(io.StringIO(out))
    assert table["file"].tolist() == [str(file) for file in files]
    assert list(table)[1:3] == ["class", "confidence"] and table["confidence"].between(0, 1).all()
    np.testing.assert_allclose(table[[str(number) for number in range(10)]].sum(axis=1), 1)


def test_a_baseline_that_is_better_is_named_before_the_answers(
    predict: Callable[..., Said], repository: Path, tmp_path: Path
) -> None:
    found = {"a": "digits-cnn", "b": "svc", "difference": -0.1, "low": -0.2, "high": -0.05, "p_value": 0.001}
    models = {"digits-cnn": {"kind": "candidate", "key": "key of digits-cnn"}, "svc": {"kind": "baseline"}}
    common = {"score": "accuracy", "maximize": True, "confidence": 0.95, "challenger": "digits-cnn"}
    file = repository / "metrics/digits.json"
    file.parent.mkdir()
    file.write_text(json.dumps({**common, "models": models, "differences": {"digits-cnn − svc": found}}))
    try:
        code, out, err = predict("digits", picture(tmp_path / "a.jpg"), "--format", "json")
    finally:
        shutil.rmtree(file.parent)
    assert (code, len(rows_of(out))) == (0, 1)
    assert err == (
        "predict: digits, version 1 (digits-cnn): the classical baseline svc is significantly better than this model "
        "on the test examples\n"
    )


def test_sentences_stand_beside_their_translations(
    predict: Callable[..., Said], repository: Path, tmp_path: Path
) -> None:
    (tmp_path / "text.en").write_text("two cats run .\none dog waits , here .\n", encoding="utf-8")
    code, out, _ = predict("pairs", tmp_path / "text.en", "--format", "json")
    assert code == 0
    assert [row["text"] for row in rows_of(out)] == ["two cats run .", "one dog waits , here ."]
    assert all(set(row) == {"file", "text", "translation"} for row in rows_of(out))
    code, out, _ = predict("pairs", "--text", "two cats run .", "--text", "five hats sleep .", "--format", "json")
    assert code == 0 and [set(row) for row in rows_of(out)] == [{"text", "translation"}] * 2


def test_a_csv_of_the_form_of_the_raw_data_is_forecast(predict: Callable[..., Said], repository: Path) -> None:
    code, out, err = predict("co2", repository / "raw/co2/co2.csv", "--format", "json")
    assert (code, err) == (0, "")
    rows = rows_of(out)
    assert [row["date"] for row in rows][:2] == ["2002-01-05 00:00:00", "2002-01-12 00:00:00"], "the file ends before"
    assert len(rows) == 8 and all(row["lower"] <= row["forecast"] <= row["upper"] for row in rows)


def test_series_are_labelled_from_ts_and_from_csv_alike(
    predict: Callable[..., Said], repository: Path, tmp_path: Path
) -> None:
    from pipeline.formats.ts import read_ts

    published = repository / "raw/waves/waves_TEST.ts"
    code, out, _ = predict("waves", published, "--format", "json")
    assert code == 0 and len(rows_of(out)) == 30
    first = read_ts(published).values[0]
    table = pd.DataFrame(first.T, columns=["channel_1", "channel_2"])
    table.to_csv(tmp_path / "one.csv", index=False)
    unlabelled = ["@dimensions 2", "@classLabel false", "@data", ":".join(",".join(map(str, row)) for row in first)]
    (tmp_path / "one.ts").write_text("\n".join(unlabelled))
    for name in ("one.csv", "one.ts"):
        code, answer, _ = predict("waves", tmp_path / name, "--format", "json")
        (row,) = rows_of(answer)
        assert code == 0 and row["confidence"] == pytest.approx(rows_of(out)[0]["confidence"], abs=1e-6)
        assert row["series"] == ("one" if name == "one.csv" else "1")


def test_boxes_are_drawn_on_pictures_of_their_own_size_and_orientation(
    predict: Callable[..., Said], repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.tasks.object_detection import plots

    monkeypatch.setattr(plots, "SHOWN", 0.0)  # an untrained network is never sure
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    files = [picture(tmp_path / "a/x.jpg"), picture(tmp_path / "b/x.jpg", turned=True)]
    code, out, err = predict("shapes", *files, "--output", tmp_path / "found")
    assert (code, err) == (0, "")
    assert out == f"predict: shapes, version 1 (shapes-cnn): predictions.csv and 2 pictures → {tmp_path / 'found'}\n"
    table = pd.read_csv(tmp_path / "found/predictions.csv")
    assert set(table) >= {"file", "picture", "class", "confidence", "left", "top", "right", "bottom"}
    assert dict(zip(table["picture"], table["file"], strict=True)) == {
        "x.png": str(files[0]), "x-2.png": str(files[1])
    }  # fmt: skip
    with Image.open(tmp_path / "found/x.png") as one, Image.open(tmp_path / "found/x-2.png") as other:
        assert one.size == (60, 40) and other.size == (40, 60), "the second one was turned upright"
        colours = {tuple(pixel) for pixel in np.asarray(one).reshape(-1, 3).tolist()}
        assert colours & {(37, 99, 168), (200, 100, 30)}, "the colours of the two classes"
    assert table[table["picture"] == "x-2.png"]["right"].max() <= 40


def test_options_may_stand_anywhere(predict: Callable[..., Said], tmp_path: Path) -> None:
    files = [picture(tmp_path / "a.png"), picture(tmp_path / "b.png")]
    code, out, err = predict("--format", "json", "digits", files[0], "--alias", "champion", files[1])
    assert (code, err) == (0, "") and [row["file"] for row in rows_of(out)] == list(map(str, files))


def test_the_table_for_people_is_aligned(predict: Callable[..., Said]) -> None:
    code, out, _ = predict("pairs", "--text", "two cats run .")
    head, row = out.rstrip("\n").split("\n")
    assert code == 0 and head.startswith("text") and row.startswith("two cats run .")
    assert head.index("translation") == len("two cats run .  ")


@pytest.mark.parametrize("experiment", ["co2", "shapes"])
def test_a_version_answers_in_a_process_of_its_own_without_pickle(
    experiment: str, predict: Callable[..., Said], repository: Path, in_earnest: None
) -> None:
    file = repository / "raw" / {"co2": "co2/co2.csv", "shapes": "shapes/JPEGImages/034.png"}[experiment]
    code, out, err = predict(experiment, file, "--format", "json")
    assert (code, err) == (0, "")
    assert rows_of(out) or experiment == "shapes"


REFUSED = [
    (("digit", "a.png"), "experiment: found digit; allowed: digits, "),
    (("digits",), "name files to ask about: python -m pipeline predict NAME FILE…"),
    (("digits", "none.png"), "none.png: no such file"),
    (("digits", "raw"), "raw: this is no file; name the files themselves, such as raw/*"),
    (
        ("digits", "a.png", "params.yaml"),
        "params.yaml: not readable as an image (no picture format is recognised; allowed: JPEG, PNG, BMP, ",
    ),
    (("digits", "a.png", "cut.png"), "cut.png: not readable as an image ("),
    (("digits", "--text", "seven"), "--text: this model does not read text; name files"),
    (("digits", "a.png", "--format", "xml"), "--format: found xml; allowed: table, csv, json"),
    (("digits", "a.png", "--output", "raw"), "--output: raw is not empty; name a new folder"),
    (("digits", "a.png", "--output", "a.png"), "--output: a.png is a file; name a new folder"),
    (("digits", "a.png", "--alias", "best"), "digits has no best; allowed: champion, version 1"),
    (("digits", "a.png", "--version", "7"), "--version: found 7; digits has the versions 1"),
    (("pairs", "--text", " "), "--text: row 0: found ' '; expected a sentence"),
    (("pairs", "empty.txt"), "empty.txt: the file is empty"),
    (("pairs", "gap.txt"), "gap.txt, line 2: found an empty line"),
    (("pairs", "latin.txt"), "latin.txt, line 1: not UTF-8"),
    (("co2", "short.csv"), "short.csv: found 2 rows; the model looks back 60 steps"),
    (("co2", "dates.csv"), "dates.csv, line 2, column 'date': found 'May'"),
    (("co2", "gap.txt"), "gap.txt: no column 'date'"),
    (("co2", "wide.csv"), "wide.csv, line 3: found 3 columns where the header has 2"),
    (("waves", "short.csv"), "short.csv: no column 'channel_1'"),
    (("waves", "one.ts"), "one.ts: found 1 channels; the model knows 2"),
    (("waves", "cut.png"), "cut.png, line 1: not UTF-8"),
]


@pytest.mark.parametrize(("arguments", "said"), REFUSED)
def test_what_cannot_be_answered_is_one_sentence_and_leaves_nothing(
    arguments: tuple[str, ...], said: str, predict: Callable[..., Said], repository: Path
) -> None:
    write_bad_files(repository)
    before = sorted(path.name for path in repository.iterdir())
    asked = (*arguments, "--output", "new") if "--output" not in arguments else arguments
    code, out, err = predict(*asked)
    assert (code, out) == (2, "")
    assert err.startswith(f"predict: {said}") and err.count("\n") == 1, err
    assert sorted(path.name for path in repository.iterdir()) == before


def write_bad_files(folder: Path) -> None:
    whole = picture(folder / "a.png").read_bytes()
    texts = {"empty.txt": b"", "gap.txt": b"one .\n\ntwo .\n", "latin.txt": "é".encode("latin-1"),
             "short.csv": b"date,co2\n20200101,1\n20200108,2\n", "dates.csv": b"date,co2\nMay,1\n",
             "wide.csv": b"date,co2\n20200101,1\n20200108,2,3\n", "one.ts": b"@classLabel false\n@data\n1,2,3\n",
             "cut.png": whole[: len(whole) // 2]}  # fmt: skip
    for name, content in texts.items():
        (folder / name).write_bytes(content)


def test_without_a_champion_the_other_versions_are_named(predict: Callable[..., Said], repository: Path) -> None:
    from pipeline.params import Tracking
    from pipeline.tracking.address import address_of
    from pipeline.tracking.client import connect

    address = address_of(Tracking(uri=None, artifacts=None), repository)
    client = connect(address)
    picture(repository / "a.png")
    client.delete_registered_model_alias("digits", "champion")
    try:
        code, _, err = predict("digits", "a.png")
        assert code == 2
        assert err == (
            "predict: digits has no champion; allowed: version 1; `python -m pipeline history digits` tells why\n"
        )
        assert predict("digits", "a.png", "--version", "1")[0] == 0
    finally:
        store_with_versions(client, address, "digits").client.set_registered_model_alias("digits", "champion", "1")


def test_where_nothing_is_registered_no_store_is_made(
    predict: Callable[..., Said], template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(template / "params.yaml", tmp_path)
    picture(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    code, _, err = predict("digits", "a.png")
    assert code == 2 and err.startswith("predict: digits: nothing is registered yet") and err.count("\n") == 1
    assert not (tmp_path / "mlflow.db").exists()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    code, _, err = predict("digits", "a.png")
    assert (code, err) == (2, "predict: digits: http://127.0.0.1:9: no server answers there\n")


def test_a_version_with_a_pickle_is_not_loaded(
    predict: Callable[..., Said], repository: Path, monkeypatch: pytest.MonkeyPatch, in_earnest: None
) -> None:
    download = Store.download

    def with_pickle(self: Store, version: Any, path: str, target: Path) -> Path:
        folder = download(self, version, path, target)
        (folder / "extra.pkl").write_bytes(b"")
        return folder

    monkeypatch.setattr(Store, "download", with_pickle)
    code, _, err = predict("digits", picture(repository / "a.png"))
    assert code == 2
    assert err == ("predict: the model cannot be loaded: holds extra.pkl: pickle runs whatever code its file holds\n")
