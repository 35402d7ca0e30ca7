"""No alias moves to a model that does not answer as `evaluate` said it does: tried in a process without pickle."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from registered import packaged

from pipeline.serving import probe
from pipeline.serving.preflight import Report, inspect
from pipeline.serving.rehearse import RehearsalFailed

Make = Callable[[str], Path]


@pytest.fixture(scope="module")
def servables(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Servable folders of untrained candidates of several tasks, with the predictions that they really make."""
    folder = tmp_path_factory.mktemp("servables")
    candidates = ("digits-cnn", "co2-rnn", "stripes-rnn")
    return {candidate: packaged(prepared, candidate, folder / candidate) for candidate in candidates}


@pytest.fixture
def copy(servables: dict[str, Path], tmp_path: Path) -> Make:
    """A copy of a servable folder, to be spoilt."""
    return lambda candidate: Path(shutil.copytree(servables[candidate], tmp_path / candidate))


@pytest.fixture
def inspected_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], list[str]]:
    """The findings about a folder, made in this process, which has torch and mlflow loaded and needs its pickle."""
    monkeypatch.setattr(probe, "forbid_pickle", lambda: None)
    monkeypatch.setattr(probe.logging, "disable", lambda level: None)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def findings(folder: Path) -> list[str]:
        probe.main({"folder": str(folder), "output": str(tmp_path / "found.json")})
        found: list[str] = json.loads((tmp_path / "found.json").read_text())["findings"]
        return found

    return findings


def change_weights(folder: Path, factor: float) -> None:
    """Makes every weight of the last layer larger by a factor: so are the forecasts, and the logits."""
    from safetensors.torch import load_file, save_file

    file = folder / "artifacts/model.safetensors"
    weights = load_file(file)
    last = {
        name: tensor * factor if name.startswith(("head", "spread")) else tensor for name, tensor in weights.items()
    }
    save_file(last, file)


def replace_code(folder: Path, old: str, new: str) -> None:
    file = folder / "servable.py"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


def test_sound_model_passes_in_a_process_of_its_own(servables: dict[str, Path]) -> None:
    report = inspect(servables["digits-cnn"])
    assert report.findings == []
    assert report.passed and report.verdict == "passed"
    assert report.asked == 8  # 1, 2 and 7 images, three sizes, none, an empty file


def test_every_dimension_that_the_signature_leaves_open_is_probed(servables: dict[str, Path]) -> None:
    images = json.loads((servables["digits-cnn"] / "artifacts/probes.json").read_text())
    assert [len(found["request"]["data"]) for found in images][:3] == [1, 2, 7]
    assert [found["name"] for found in images if found["error"]] == ["an empty file"]
    assert [found["answer"]["data"] for found in images if found["name"] == "no image"] == [[]]
    histories = json.loads((servables["co2-rnn"] / "artifacts/probes.json").read_text())
    lengths = [len(found["request"]["data"]) for found in histories]
    assert {found["error"] for found in histories if len(found["request"]["data"]) < 60} == {"looks back 60 steps"}
    assert {0, 59, 60} < set(lengths) and max(lengths) > 60


def test_forecaster_passes(servables: dict[str, Path], inspected_here: Callable[[Path], list[str]]) -> None:
    assert inspected_here(servables["co2-rnn"]) == []


def test_files_in_an_answer_are_those_of_evaluate_and_others_are_found(
    copy: Make, inspected_here: Callable[[Path], list[str]]
) -> None:
    """They come back as bytes directly, and over HTTP in lines of base64; columns that are optional are left out."""
    folder = copy("stripes-rnn")
    assert inspected_here(folder) == []
    file = folder / "artifacts/probes.json"
    probes = json.loads(file.read_text())
    place = probes[0]["answer"]["columns"].index("image")
    probes[0]["answer"]["data"][0][place] = probes[1]["answer"]["data"][1][place]
    file.write_text(json.dumps(probes))
    (finding,) = inspected_here(folder)
    assert finding.startswith("1 rows: row 0 says image ")


def test_model_of_a_time_before_there_were_probes_is_asked_for_its_example(
    copy: Make, inspected_here: Callable[[Path], list[str]]
) -> None:
    folder = copy("digits-cnn")
    (folder / "artifacts/probes.json").unlink()
    assert inspected_here(folder) == []
    replace_code(folder, "        try:\n", "        self.network.train()\n        try:\n")  # live dropout
    assert "the example: row " in inspected_here(folder)[0]


def test_answers_that_differ_by_one_percent_from_those_of_evaluate_are_found(
    copy: Make, inspected_here: Callable[[Path], list[str]]
) -> None:
    folder = copy("digits-cnn")
    change_weights(folder, 1.01)
    assert "1 images: row 0 says confidence" in inspected_here(folder)[0]


def test_forecasts_that_differ_by_one_percent_are_found(
    copy: Make, inspected_here: Callable[[Path], list[str]]
) -> None:
    folder = copy("co2-rnn")
    replace_code(folder, "return self.task.answer(self.network, model_input, self.card)",
                 "answer = self.task.answer(self.network, model_input, self.card)\n"
                 "            return answer.assign(forecast=answer['forecast'] * 1.01)")  # fmt: skip
    found = inspected_here(folder)
    assert len(found) > 7 and "the history of test example 0: row 0 says forecast" in found[0]


def test_model_that_answers_only_a_batch_of_one_is_found(
    copy: Make, inspected_here: Callable[[Path], list[str]]
) -> None:
    folder = copy("digits-cnn")
    replace_code(folder, "        try:\n", "        assert len(model_input) == 1, 'frozen batch'\n        try:\n")
    found = inspected_here(folder)
    assert [finding.partition(":")[0] for finding in found] == ["2 images", "7 images", "no image"]
    assert "no answer: frozen batch" in found[0]


def test_model_whose_second_answer_differs_is_found(copy: Make, inspected_here: Callable[[Path], list[str]]) -> None:
    folder = copy("digits-cnn")
    replace_code(folder, "        try:\n", "        self.network.train(getattr(self, 'asked', False))\n"
                                           "        self.asked = True\n        try:\n")  # fmt: skip
    assert any(finding.endswith(("the second time", "over HTTP")) for finding in inspected_here(folder))


def test_answer_to_an_unreadable_image_must_be_an_error_that_says_so(
    copy: Make, inspected_here: Callable[[Path], list[str]]
) -> None:
    folder = copy("digits-cnn")
    replace_code(folder, "str(error)", "'bad'")
    assert inspected_here(folder) == ["an empty file: the error does not say 'not readable as an image': bad"]


def test_error_over_http_speaks_of_the_request_and_shows_no_code(servables: dict[str, Path]) -> None:
    """What a sender did wrong is a 400 with the task's own sentence; in mlflow's way it would be a trace."""
    program = (
        "import sys; sys.path.append(sys.argv[2]); import probe\n"
        "model = probe._loaded(sys.argv[1])\n"
        "with probe._served(model) as address:\n"
        "    try: probe._posted(address, {'columns': ['image'], 'data': [['']]})\n"
        "    except ValueError as error: print(error)"
    )
    command = [sys.executable, "-c", program, str(servables["digits-cnn"]), str(Path(probe.__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "row 0: the picture: not readable as an image" in done.stdout, done.stderr
    assert "Traceback" not in done.stdout and "stack_trace" not in done.stdout


class Bomb:
    """What an attacker's pickle does when it is loaded: it makes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


def test_weights_that_were_replaced_by_a_pickle_are_refused_and_not_run(copy: Make, tmp_path: Path) -> None:
    folder, mark = copy("digits-cnn"), tmp_path / "run"
    (folder / "artifacts/model.safetensors").write_bytes(pickle.dumps(Bomb(mark)))
    report = inspect(folder)
    assert not report.passed and "cannot be served" in report.verdict
    assert not mark.exists()
    pickle.loads(pickle.dumps(Bomb(mark)))
    assert mark.exists()  # the bomb is a real one


@pytest.mark.parametrize(
    "loader",
    [
        "pickle.loads(data)",
        "pickle._loads(data)",
        "__import__('_pickle').Unpickler(io.BytesIO(data)).load()",
        "__import__('joblib').load(file)",
        "__import__('torch').load(file, weights_only=False)",
        "__import__('pandas').read_pickle(file)",
    ],
)
def test_code_that_unpickles_is_refused_whatever_it_calls(tmp_path: Path, loader: str) -> None:
    mark, file = tmp_path / "run", tmp_path / "weights"
    file.write_bytes(pickle.dumps(Bomb(mark)))
    program = (
        f"import sys; sys.path.append({str(Path(probe.__file__).parent)!r}); import io, pickle, probe\n"
        f"probe.forbid_pickle()\nfile = {str(file)!r}\ndata = open(file, 'rb').read()\n"
        f"try: {loader}\nexcept Exception as error: print(type(error).__name__, error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert not mark.exists()
    assert done.stdout.strip(), done.stderr  # it raised


def test_file_that_is_called_a_pickle_is_refused_without_starting_anything(
    copy: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copy("digits-cnn")
    (folder / "artifacts/python_model.pkl").write_bytes(b"")
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a process was started"))
    assert inspect(folder).verdict.startswith("failed: holds python_model.pkl: pickle runs")


def test_process_that_dies_is_a_finding_and_one_that_hangs_says_nothing_about_the_model(copy: Make) -> None:
    folder = copy("digits-cnn")
    replace_code(folder, "set_model(Servable())", "import os, sys; print('out of order', file=sys.stderr); os._exit(3)")
    assert inspect(folder).findings == ["its process ended without an answer: out of order"]
    with pytest.raises(RehearsalFailed, match="no answer within 0 s; run the stage again"):
        inspect(folder, limit=0.01)


def test_verdict_of_many_findings_is_short() -> None:
    report = Report(False, [f"{number} images: wrong" for number in range(9)], 1.0)
    assert report.verdict == "failed: 0 images: wrong; 1 images: wrong; 2 images: wrong; and 6 more"
