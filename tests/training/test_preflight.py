"""Before a long training: what would spoil its end is said at its beginning, in one sentence, within a second."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import pytest
import torch

from pipeline.params import Choices, Range, load
from pipeline.training import preflight
from pipeline.training.facts import Subject, subject_of
from pipeline.training.preflight import check_before, check_networks, smallest, space_needed

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def subject(prepared: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Subject:
    """A candidate on prepared data, in an empty working directory."""
    monkeypatch.chdir(prepared)
    found = subject_of("train", "digits-cnn", load("params.yaml"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").symlink_to(prepared / "data")
    return found


def check(subject: Subject, address: str = "https://mlflow.example.org") -> None:
    check_before(
        subject, work=Path(".work/key"), target=Path("models/digits/digits-cnn"), workers=2, address=address, kept=2
    )


@pytest.mark.parametrize(
    "candidate",
    ["digits-cnn", "digits-rnn", "co2-cnn", "co2-rnn", "waves-cnn", "waves-rnn", "opinions-cnn", "opinions-rnn"],
)
def test_candidates_in_order_pass_and_leave_nothing_behind(
    prepared: Path, monkeypatch: pytest.MonkeyPatch, candidate: str
) -> None:
    monkeypatch.chdir(prepared)
    subject = subject_of("train", candidate, load("params.yaml"))
    before = sorted(prepared.rglob("*"))
    state = torch.get_rng_state()
    started = time.process_time()
    check(subject)
    assert time.process_time() - started < 1
    assert sorted(prepared.rglob("*")) == before
    assert torch.equal(torch.get_rng_state(), state)  # the training draws what it would have drawn


def test_every_architecture_is_built_with_the_smallest_numbers() -> None:
    space = {"architecture": Choices(choices=["vgg", "resnet"]), "width": Choices(choices=[32, 16]), "flip": False,
             "dropout": Range(low=0.0, high=0.2)}  # fmt: skip
    assert list(smallest(space)) == [
        {"architecture": name, "width": 16, "flip": False, "dropout": 0.0} for name in ("vgg", "resnet")
    ]
    assert [found["width"] for found in smallest(space, largest=True)] == [32, 32]


def test_network_that_answers_otherwise_after_saving_is_refused(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    def altered(file: Path) -> dict[str, torch.Tensor]:
        return {name: tensor + 0.5 if tensor.is_floating_point() else tensor for name, tensor in real(file).items()}

    real = preflight.load_file
    check_networks(subject)
    monkeypatch.setattr(preflight, "load_file", altered)
    with pytest.raises(ValueError, match=r"candidates.digits-cnn: .*architecture vgg.*answers otherwise after it was"):
        check_networks(subject)


def test_network_whose_weights_cannot_be_saved_is_refused(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    real = preflight.build_network

    def tied(*arguments: object) -> torch.nn.Module:
        network: torch.nn.Module = real(*arguments)  # type: ignore[arg-type]
        network.register_buffer("twin", next(network.parameters()).data)  # safetensors refuses shared memory
        return network

    monkeypatch.setattr(preflight, "build_network", tied)
    with pytest.raises(ValueError, match=r"cannot be trained: .*share memory"):
        check_networks(subject)


def test_full_disk_is_said_with_what_is_needed_and_what_is_there(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = space_needed(subject, 2, 2)
    assert space_needed(subject, 4, 2) > needed > 32_000_000
    assert space_needed(subject, 2, 40) > needed, "a search keeps the weights of all its trials"
    monkeypatch.setattr(shutil, "disk_usage", lambda place: Usage(10**9, 0, needed))
    check(subject)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: Usage(10**9, 0, needed - 1))
    with pytest.raises(ValueError, match=r"found 3\d MB free on its disk; digits-cnn needs about 3\d MB for checkpoin"):
        check(subject)


@pytest.mark.parametrize("place", [".work", "models", "timings", "reports"])
def test_place_that_cannot_be_written_is_named(subject: Subject, place: str) -> None:
    Path(place).write_text("in the way")
    with pytest.raises(ValueError, match=rf"^{place}.*cannot be written .*; make .*{place} a folder in which you may"):
        check(subject)


@pytest.mark.parametrize("address", ["http://", "http://host:port/", "https:///path", "postgresql://me@host:x/name"])
def test_malformed_address_is_refused_without_asking_any_server(subject: Subject, address: str) -> None:
    with pytest.raises(ValueError, match="without a host, or with a port that is no number"):
        check(subject, address)


def test_password_of_a_malformed_address_is_not_printed(subject: Subject) -> None:
    with pytest.raises(ValueError, match=r"tracking\.uri") as error:
        check(subject, "http://me:geheim@:5000x")
    assert "geheim" not in str(error.value)


def test_tracking_server_is_not_even_asked(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(socket.socket, "connect", lambda self, address: asked.append(address))
    for address in ("http://127.0.0.1:9", "postgresql:///name"):  # the latter by a socket of this machine
        check(subject, address)
    assert asked == []


def test_neither_mlflow_nor_dvc_nor_lightning_is_needed(root: Path) -> None:
    program = (
        "import sys, pipeline.training.preflight\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'mlflow', 'dvc', 'optuna', 'pytorch_lightning'}))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
