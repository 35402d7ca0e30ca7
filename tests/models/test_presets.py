"""The published trunks, to the parameter."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from published import PUBLISHED, state_dict
from safetensors.torch import save_file
from torch import Tensor

from pipeline.models.presets import PRESETS, preset
from pipeline.models.weights import HEADS, load_trunk, read_weights

SIZES = {"vgg16": 14_714_688, "googlenet": 5_599_904, "resnet18": 11_176_512, "resnet50": 23_508_032}


def test_every_preset_has_a_published_size() -> None:
    assert set(PRESETS) == set(SIZES) == set(PUBLISHED)


@pytest.mark.parametrize("name", PRESETS)
def test_preset_has_exactly_the_published_parameters(name: str) -> None:
    with torch.device("meta"):  # shapes without memory
        trunk = preset(name)
        assert sum(parameter.numel() for parameter in trunk.parameters()) == SIZES[name]
        assert trunk(torch.empty(2, 3, 224, 224)).shape == (2, trunk.out_channels, 7, 7)


def test_preset_takes_pictures_of_one_channel() -> None:
    trunk = preset("resnet18", in_channels=1).eval()
    features = trunk(torch.randn(1, 1, 32, 32))
    assert features.shape == (1, 512, 1, 1)
    assert features.isfinite().all()


@pytest.mark.parametrize("name", PRESETS)
def test_preset_has_the_names_and_shapes_of_published_weights(name: str) -> None:
    with torch.device("meta"):
        own = {key: tuple(value.shape) for key, value in preset(name).state_dict().items()}
    assert own == {key: shape for key, shape in PUBLISHED[name].items() if not key.startswith(HEADS)}


@pytest.mark.parametrize("name", PRESETS)
def test_sizes_that_are_no_multiples_of_32_are_rounded_up(name: str) -> None:
    trunk = preset(name).eval()
    with torch.inference_mode():
        assert trunk(torch.randn(1, 3, 28, 65)).shape == (1, trunk.out_channels, 1, 3)


def vgg16(x: Tensor, weights: dict[str, Tensor]) -> Tensor:
    """The published network, from the names of its weights alone."""
    places = sorted({int(key.split(".")[1]) for key in weights if key.startswith("features.")})
    for place, following in zip(places, [*places[1:], 31], strict=True):
        x = F.relu(F.conv2d(x, weights[f"features.{place}.weight"], weights[f"features.{place}.bias"], padding=1))
        x = F.max_pool2d(x, 2) if following - place == 3 else x
    return x


def resnet18(x: Tensor, weights: dict[str, Tensor]) -> Tensor:
    def norm(x: Tensor, name: str) -> Tensor:
        mean, variance = weights[f"{name}.running_mean"], weights[f"{name}.running_var"]
        return F.batch_norm(x, mean, variance, weights[f"{name}.weight"], weights[f"{name}.bias"])

    x = F.relu(norm(F.conv2d(x, weights["conv1.weight"], stride=2, padding=3), "bn1"))
    x = F.max_pool2d(x, 3, stride=2, padding=1)
    for stage in (1, 2, 3, 4):
        for block in (0, 1):
            name, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            y = F.relu(norm(F.conv2d(x, weights[f"{name}.conv1.weight"], stride=stride, padding=1), f"{name}.bn1"))
            y = norm(F.conv2d(y, weights[f"{name}.conv2.weight"], padding=1), f"{name}.bn2")
            if stride == 2:
                x = norm(F.conv2d(x, weights[f"{name}.downsample.0.weight"], stride=2), f"{name}.downsample.1")
            x = F.relu(x + y)
    return x


@pytest.mark.parametrize(("name", "plain"), [("vgg16", vgg16), ("resnet18", resnet18)])
def test_published_weights_give_the_published_features(name: str, plain: Any) -> None:
    weights, trunk = state_dict(name), preset(name)
    load_trunk(trunk, weights, "a file")
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(trunk.eval()(x), plain(x, weights), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("name", ["googlenet", "resnet18"])
def test_every_tensor_of_a_file_arrives_in_the_trunk(name: str, suffix: str, tmp_path: Path) -> None:
    weights, file = state_dict(name), tmp_path / f"weights{suffix}"
    torch.save(weights, file) if suffix == ".pth" else save_file(weights, file)
    trunk = preset(name)
    load_trunk(trunk, read_weights(file), file)
    for key, value in trunk.state_dict().items():
        assert torch.equal(value, weights[key]), key


def test_a_trunk_for_grey_pictures_answers_as_the_published_one_to_three_equal_channels() -> None:
    weights = state_dict("resnet18")
    colour, grey = preset("resnet18"), preset("resnet18", in_channels=1)
    for trunk in (colour, grey):
        load_trunk(trunk.eval(), weights, "a file")
    x = torch.randn(1, 1, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(grey(x), colour(x.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-4)


def test_a_file_without_counters_of_batches_is_enough() -> None:
    weights = {key: value for key, value in state_dict("resnet18").items() if not key.endswith("tracked")}
    trunk = preset("resnet18")
    load_trunk(trunk, weights, "a file")
    loaded = trunk.state_dict()
    assert set(loaded) - set(weights) == {key for key in loaded if key.endswith("tracked")} != set()
    assert all(torch.equal(loaded[key], value) for key, value in weights.items() if key in loaded)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda found: found.pop("layer1.0.bn1.weight"), "the file lacks layer1.0.bn1.weight"),
        (lambda found: found.update({"layer5.0.conv1.weight": torch.zeros(1)}), "the file has layer5.0.conv1.weight"),
        (
            lambda found: found.update({"conv1.weight": torch.zeros(64, 3, 3, 3)}),
            "conv1.weight has the shape [64, 3",
        ),
        (lambda found: found["bn1.bias"].fill_(torch.nan), "bn1.bias holds values that are no finite numbers"),
    ],
)
def test_weights_of_another_network_are_refused_by_name(change: Any, said: str) -> None:
    weights = state_dict("resnet18")
    change(weights)
    with pytest.raises(ValueError, match=f"^weights.pth: .*{re.escape(said)}"):
        load_trunk(preset("resnet18"), weights, "weights.pth")


def test_weights_of_vgg16_with_batch_norm_are_told_from_those_without() -> None:
    """Both are published, and the first layer of both has the same name."""
    weights = {f"features.{place}.weight": torch.zeros(1) for place in range(43)}
    with pytest.raises(ValueError, match="not the weights of a VGG16 in torchvision's form"):
        load_trunk(preset("vgg16"), weights, "vgg16_bn.pth")


@pytest.mark.parametrize("content", [b"", b"no weights at all", b"PK\x03\x04 broken"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_broken_files_are_named(content: bytes, suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"weights{suffix}"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=f"^{re.escape(str(file))}: not readable as weights"):
        read_weights(file)


def test_files_that_are_missing_or_hold_something_else_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"missing\.pth: no such file"):
        read_weights(tmp_path / "missing.pth")
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    with pytest.raises(ValueError, match=r"list\.pth: found list; allowed: a state dict"):
        read_weights(tmp_path / "list.pth")
    for content in ({"epoch": 3, "model": {}}, {0: torch.zeros(1)}):
        torch.save(content, tmp_path / "checkpoint.pth")
        with pytest.raises(ValueError, match=r"checkpoint\.pth: found something else beside tensors with names"):
            read_weights(tmp_path / "checkpoint.pth")


def test_unknown_preset_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ValueError, match=r"unknown preset 'resnet19'\. Did you mean 'resnet18'"):
        preset("resnet19")
