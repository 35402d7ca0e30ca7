"""Fine-tuning: a training that starts from published weights in a local file."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from published import state_dict
from safetensors.torch import load_file

from pipeline.check import check
from pipeline.files.digests import file_digest
from pipeline.params import ParamsError
from pipeline.training.fit import Job, fit

RESNET = {"architecture": "resnet18", "ema_decay": 0.0}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    file = tmp_path_factory.mktemp("published") / "resnet18.pth"
    torch.save(state_dict("resnet18"), file)
    return {"file": str(file), "sha256": file_digest(file)}


def test_training_starts_from_the_published_weights(job: Callable[..., Job], published: dict[str, str]) -> None:
    """With a learning rate of nothing they are what training ends with."""
    still = RESNET | {"learning_rate": 0.0, "weight_decay": 0.0}
    asked = job(epochs=1, batch_size=128, parameters=still, weights_file=published)
    fit(asked)
    trained, weights = load_file(asked.weights), state_dict("resnet18")
    for key in ("layer1.0.conv2.weight", "layer4.1.bn2.weight", "layer2.0.downsample.0.weight"):
        assert torch.equal(trained[f"encoder.{key}"], weights[key])
    grey = weights["conv1.weight"].sum(1, keepdim=True)  # the digits have one channel
    assert torch.equal(trained["encoder.conv1.weight"], grey)


def test_fine_tuning_moves_them(job: Callable[..., Job], published: dict[str, str]) -> None:
    asked = job(epochs=1, batch_size=128, parameters=RESNET | {"learning_rate": 0.001}, weights_file=published)
    outcome = fit(asked)
    assert outcome.figures["validation_loss"] > 0
    moved = load_file(asked.weights)["encoder.layer1.0.conv2.weight"] - state_dict("resnet18")["layer1.0.conv2.weight"]
    assert 0 < moved.abs().mean() < 0.01


def test_another_file_than_the_named_one_is_refused(job: Callable[..., Job], published: dict[str, str]) -> None:
    asked = job(epochs=1, parameters=RESNET, weights_file=published | {"sha256": "0" * 64})
    with pytest.raises(ValueError, match=f"{re.escape(published['file'])}: found SHA-256 .*asks for 0000"):
        fit(asked)


def test_weights_without_a_published_trunk_are_refused(job: Callable[..., Job], published: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="the architecture is no published trunk"):
        fit(job(epochs=1, parameters={"architecture": "resnet"}, weights_file=published))


@pytest.mark.parametrize(
    ("candidate", "architecture", "said"),
    [
        ("digits-cnn", "resnet18", None),
        ("digits-cnn", {"choices": ["inception_v1", "vgg16"]}, None),
        ("digits-cnn", {"choices": ["resnet18", "vgg"]}, "found beside the architecture vgg; allowed: with vgg16, "),
        ("digits-rnn", "gru", "allowed: for pictures and the family cnn only; remove it"),
        ("co2-cnn", "resnet18", "found 'resnet18'; allowed: vgg, googlenet, resnet, textcnn, wavenet; did you mean "),
    ],
)
def test_check_knows_where_published_trunks_and_weights_can_stand(
    candidate: str, architecture: Any, said: str | None, tiny: dict[str, Any], save: Any, tmp_path: Path
) -> None:
    tiny["candidates"][candidate]["parameters"]["architecture"] = architecture
    tiny["candidates"][candidate]["weights"] = {"file": "data/raw/published/weights.pth", "sha256": "0" * 64}
    path = save(tiny, tmp_path)
    if said is None:
        return check(path)
    with pytest.raises(ParamsError, match=re.escape(said)):
        check(path)
