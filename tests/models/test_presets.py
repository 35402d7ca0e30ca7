"""The published trunks, to the parameter."""

from __future__ import annotations

import pytest
import torch

from pipeline.models.presets import PRESETS, preset

PUBLISHED = {"vgg16": 14_714_688, "googlenet": 5_599_904, "resnet18": 11_176_512, "resnet50": 23_508_032}


def test_every_preset_has_a_published_size() -> None:
    assert set(PRESETS) == set(PUBLISHED)


@pytest.mark.parametrize("name", PRESETS)
def test_preset_has_exactly_the_published_parameters(name: str) -> None:
    with torch.device("meta"):  # shapes without memory
        trunk = preset(name)
        assert sum(parameter.numel() for parameter in trunk.parameters()) == PUBLISHED[name]
        assert trunk(torch.empty(2, 3, 224, 224)).shape == (2, trunk.out_channels, 7, 7)


def test_preset_takes_pictures_of_one_channel() -> None:
    trunk = preset("resnet18", in_channels=1).eval()
    features = trunk(torch.randn(1, 1, 32, 32))
    assert features.shape == (1, 512, 1, 1)
    assert features.isfinite().all()


@pytest.mark.parametrize(
    "name, keys",
    [
        ("vgg16", ["features.0.weight", "features.28.bias"]),
        (
            "googlenet",
            ["conv1.conv.weight", "inception3a.branch2.1.bn.running_mean", "inception5b.branch4.1.conv.weight"],
        ),
        ("resnet18", ["conv1.weight", "layer1.0.conv2.weight", "layer2.0.downsample.0.weight"]),
        ("resnet50", ["bn1.bias", "layer1.0.conv3.weight", "layer4.2.bn3.running_var"]),
    ],
)
def test_preset_layers_are_called_as_in_published_weights(name: str, keys: list[str]) -> None:
    with torch.device("meta"):
        assert set(keys) <= set(preset(name).state_dict())


def test_unknown_preset_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ValueError, match=r"unknown preset 'resnet19'\. Did you mean 'resnet18'"):
        preset("resnet19")
