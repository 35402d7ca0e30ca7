import hashlib
import json
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline.guard.integrity import check_inputs, inputs_of
from pipeline.params import load

WEIGHTS = Path("models/digits/digits-cnn/model.safetensors")
FOLDER = Path("data/prepared/digits")


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with a lock that names a file and a folder, as DVC writes it."""
    files = {WEIGHTS: b"weights", FOLDER / "card.json": b"card", FOLDER / "sub/train.safetensors": b"train"}
    for path, data in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(data)
    inside = [path for path in sorted(files) if FOLDER in path.parents]
    listed = [{"md5": md5(files[path]), "relpath": path.relative_to(FOLDER).as_posix()} for path in inside]
    text = json.dumps(listed, sort_keys=True).encode()
    folder = f"{md5(text)}.dir"
    cached = tmp_path / ".dvc/cache/files/md5" / folder[:2] / folder[2:]
    cached.parent.mkdir(parents=True)
    cached.write_bytes(text)
    stages = {
        "prepare@digits": {"outs": [{"path": FOLDER.as_posix(), "md5": folder, "hash": "md5"}]},
        "train@digits-cnn": {"outs": [{"path": WEIGHTS.as_posix(), "md5": md5(b"weights"), "hash": "md5"}]},
        "register": {"cmd": "python -m pipeline register"},
    }
    YAML(pure=True).dump({"schema": "2.0", "stages": stages}, tmp_path / "dvc.lock")
    return tmp_path


def test_what_dvc_has_written_passes(root):
    check_inputs([WEIGHTS.parent, FOLDER], root)


@pytest.mark.parametrize("path", [WEIGHTS, FOLDER / "sub/train.safetensors"])
def test_one_wrong_bit_is_found_and_the_way_to_mend_it_is_told(root, path):
    data = bytearray((root / path).read_bytes())
    expected = md5(data)
    data[0] ^= 1
    (root / path).write_bytes(data)
    with pytest.raises(ValueError) as caught:
        check_inputs([WEIGHTS.parent, FOLDER], root)
    message = str(caught.value)
    stage = "train@digits-cnn" if path == WEIGHTS else "prepare@digits"
    assert message.startswith(f"{path} is not what {stage} wrote (dvc.lock: MD5 {expected})")
    assert f"`rm -f {path}`, then `dvc repro {stage}`" in message


@pytest.mark.parametrize(("file", "place"), [("config", "../shared"), ("config.local", "{root}/shared")])
def test_a_cache_that_lies_elsewhere_is_found(root, file, place):
    (root / ".dvc/cache").rename(root / "shared")
    (root / ".dvc" / file).write_text(f"[cache]\n    dir = {place.format(root=root)}\n", encoding="utf-8")
    check_inputs([FOLDER], root)
    (root / FOLDER / "card.json").write_bytes(b"cord")
    with pytest.raises(ValueError, match=f"{FOLDER}/card.json is not what prepare@digits wrote"):
        check_inputs([FOLDER], root)


def test_only_what_the_stage_reads_is_looked_at(root):
    (root / WEIGHTS).write_bytes(b"other")
    check_inputs([FOLDER], root)
    check_inputs([Path("models/digits/digits-rnn")], root)


def test_missing_files_and_an_unreadable_lock_are_left_to_dvc(root):
    (root / WEIGHTS).unlink()
    check_inputs([WEIGHTS.parent], root)
    (root / WEIGHTS).write_bytes(b"other")
    (root / "dvc.lock").write_text("{", encoding="utf-8")
    check_inputs([WEIGHTS.parent], root)


def test_every_stage_names_what_it_reads(tmp_path, tiny, save):
    params = load(save(tiny, tmp_path))

    def named(stage: str, name: str | None) -> list[str]:
        return [path.as_posix() for path in inputs_of(stage, name, params)]

    assert named("prepare", "digits") == ["data/raw/digits"]
    assert named("tune", "co2-rnn") == ["data/prepared/co2"]
    assert named("train", "co2-rnn") == ["data/prepared/co2", "search/co2/co2-rnn"]
    assert named("evaluate", "co2") == ["data/prepared/co2", "models/co2/co2-cnn", "models/co2/co2-rnn"]
    assert {"models/co2/co2-cnn", "evaluation/digits", "metrics"} <= set(named("register", None))
    assert named("tune", "nonsense") == named("register", "nonsense") == named("report", None) == []
