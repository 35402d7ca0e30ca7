"""Style transfer: the perceptual network from its three sources, losses, the optimisation, and what is served."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from generated import write_raw
from PIL import Image
from published import state_dict
from safetensors.torch import save_file

from pipeline.formats import content_and_style
from pipeline.models import load_family
from pipeline.models.presets import preset
from pipeline.models.weights import load_trunk
from pipeline.stages.evaluate import challenger
from pipeline.tasks import load_task
from pipeline.tasks.image_classification.network import Classifier
from pipeline.tasks.network import build_network
from pipeline.tasks.style_transfer.baselines import LARGEST, in_bytes, optimised, recoloured
from pipeline.tasks.style_transfer.network import PerceptualLoss, StyleNetwork, grain, gram, prime_factors
from pipeline.tasks.style_transfer.perceptual import IMAGENET, as_tables, perceptual_stack
from pipeline.tasks.style_transfer.task import StyleTransfer

SETTINGS: dict[str, Any] = {
    "content_layers": ["relu2_1"], "style_layers": ["relu1_1", "relu2_1"], "content_weight": 1.0, "style_weight": 2.0,
    "iterations": 8,
}  # fmt: skip
CARD: dict[str, Any] = {"mean": [0.5, 0.4, 0.3], "deviation": [0.2, 0.2, 0.2], "height": 32, "width": 32}
CARD |= {"perceptual": {"least": 16}}


def judge_of(source: Path | None, layers: list[str], seed: int = 0) -> PerceptualLoss:
    stack = perceptual_stack(source, layers, seed)
    described = {
        "layers": [{"name": layer.name, "pooled": layer.pooled} for layer in stack.layers],
        "mean": stack.mean,
        "deviation": stack.deviation,
    }
    tables = {name: torch.from_numpy(value) for name, value in as_tables(stack).items()}
    return PerceptualLoss(tables, {"perceptual": described}, SETTINGS)


def pictures(count: int = 2, side: int = 32, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, side, side), generator=torch.Generator().manual_seed(seed)).to(torch.uint8)


@pytest.fixture(scope="module")
def canvas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw") / "canvas"
    write_raw(folder)
    return folder


def prepared(canvas: Path, **changes: Any) -> tuple[StyleTransfer, dict[str, dict[str, torch.Tensor]], dict[str, Any]]:
    task = StyleTransfer(SETTINGS)
    options = {"content": ["content"], "style": ["style"], "size": 32, "shorter_side": 64, "perceptual": "judge"}
    parts = {"all": content_and_style(canvas, **options | changes)}
    made = task.prepare(parts, {"validation": 0.25, "test": 0.25}, 0)
    tables = {
        split: {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in table.items()}
        for split, table in made.tables.items()
    }
    return task, tables, made.card


def network(family: str = "cnn", **changes: Any) -> StyleNetwork:
    kind: Any = load_family(family)
    torch.manual_seed(0)

    def encoders(channels: int) -> Any:
        return kind(channels, 2, False, architecture=next(iter(kind.ARCHITECTURES)), **kind.EXAMPLE)

    return StyleTransfer(SETTINGS).network(
        encoders, CARD, **{"decoder_width": 4, "window": 32, "flip": False, "zoom": 0.0} | changes
    )


def test_published_weights_give_the_features_of_the_published_network(tmp_path: Path) -> None:
    torch.save(state_dict("vgg16"), tmp_path / "vgg16.pth")
    judge = judge_of(tmp_path / "vgg16.pth", ["relu1_2", "relu3_3"])
    trunk = preset("vgg16")
    load_trunk(trunk, state_dict("vgg16"), "")
    mean, deviation = (torch.tensor(values).view(1, 3, 1, 1) for values in IMAGENET)
    x = (pictures() / 255 - mean) / deviation
    with torch.inference_mode():
        found = judge.features(pictures(), ["relu1_2", "relu3_3"])
        for name, layers in (("relu1_2", 4), ("relu3_3", 16)):  # torchvision's features[:4] and [:16]
            torch.testing.assert_close(found[name], trunk.features[:layers](x), rtol=1e-3, atol=1e-3)
    assert [layer["name"] for layer in judge.described["layers"]][-1] == "relu3_3", "no layer further than needed"


@pytest.mark.parametrize("channels", [1, 3])
def test_a_trained_classifier_judges_by_the_features_that_it_classifies_with(channels: int, tmp_path: Path) -> None:
    """Batch norms are folded away, and a classifier of grey pictures sees the grey of coloured ones."""
    card = {"classes": ["a", "b"], "channels": channels, "height": 32, "width": 32, "maximum": 255}
    card |= {"mean": [0.5, 0.4, 0.3][:channels], "deviation": [0.2, 0.3, 0.1][:channels]}
    parameters = {"architecture": "vgg", "width": 16, "depth": 2, "kernel_size": 3, "dropout": 0.0, "shift": 0}
    parameters |= {"flip": False, "label_smoothing": 0.0}
    torch.manual_seed(0)
    made = build_network(load_task("image_classification", {}), "cnn", card, parameters)
    assert isinstance(made, Classifier)
    for module in made.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                torch.nn.init.uniform_(tensor, 0.5, 1.5)
    save_file(made.state_dict(), tmp_path / "model.safetensors")
    described = {"task": "image_classification", "parameters": parameters, "card": card}
    (tmp_path / "model.json").write_text(json.dumps(described))
    x = pictures().float()
    seen = x if channels == 3 else (x * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)
    with torch.inference_mode():
        found = judge_of(tmp_path, ["relu1_1", "relu3_2"]).features(x, ["relu3_2"])["relu3_2"]
        pixels = (seen - made.mean) / made.deviation
        torch.testing.assert_close(found, made.eval().encoder(pixels), rtol=1e-3, atol=1e-3)


def test_a_classifier_that_is_no_plain_stack_is_refused(tmp_path: Path) -> None:
    save_file({"x": torch.zeros(1)}, tmp_path / "model.safetensors")
    described: dict[str, Any] = {"task": "image_classification", "parameters": {"architecture": "resnet"}}
    for card in ({}, {"card": "a text"}, {"card": {"channels": 3}}):
        (tmp_path / "model.json").write_text(json.dumps(described | card))
        with pytest.raises(ValueError, match=r"model\.json: has no parameters and card; name the folder of a trained"):
            perceptual_stack(tmp_path, ["relu1_1"], 0)
    described |= {"card": CARD | {"channels": 3}}
    (tmp_path / "model.json").write_text(json.dumps(described))
    with pytest.raises(ValueError, match="architecture resnet; a perceptual network can be one of "):
        perceptual_stack(tmp_path, ["relu1_1"], 0)
    described |= {"parameters": {"architecture": "vgg"}, "card": CARD | {"channels": 3}}
    (tmp_path / "model.json").write_text(json.dumps(described))
    with pytest.raises(ValueError, match=r"model\.safetensors: has no tensor 'encoder\.stem\."):
        perceptual_stack(tmp_path, ["relu1_1"], 0)


def test_untrained_weights_depend_on_the_seed_alone() -> None:
    state = torch.get_rng_state()
    first, again, other = (perceptual_stack(None, ["relu1_2"], seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state), "nobody else's random numbers are touched"
    assert torch.equal(first.layers[1].weight, again.layers[1].weight)
    assert not torch.equal(first.layers[1].weight, other.layers[1].weight)
    assert len(first.layers) == 2


def test_a_layer_that_the_network_does_not_have_is_named_with_those_it_has() -> None:
    with pytest.raises(ValueError, match=r"found the layer 'relu1_3'; the perceptual network has relu1_1, "):
        perceptual_stack(None, ["relu1_1", "relu1_3"], 0)


def test_squares_too_small_for_the_layers_are_refused(canvas: Path) -> None:
    task = StyleTransfer(SETTINGS | {"style_layers": ["relu4_1"]})
    options = {"content": ["content"], "style": ["style"], "size": 16, "shorter_side": 64}
    parts = {"all": content_and_style(canvas, **options)}
    with pytest.raises(ValueError, match=r"data\.options\.size: found 16; allowed: at least 32 .* halve a picture 3"):
        task.prepare(parts, {"validation": 0.25, "test": 0.25}, 0)


def test_gram_matrices_are_those_of_a_plain_computation() -> None:
    features = torch.randn(2, 3, 4, 5)
    plain = torch.zeros(2, 3, 3)
    for b, i, j in np.ndindex(2, 3, 3):
        plain[b, i, j] = sum(features[b, i, y, x] * features[b, j, y, x] for y in range(4) for x in range(5)) / 20
    torch.testing.assert_close(gram(features), plain)


def test_the_content_itself_has_no_content_loss_and_the_style_itself_no_style_loss(canvas: Path) -> None:
    task, tables, card = prepared(canvas)
    batch = task.examples(tables["test"], card)
    assert task.judge is not None
    content, style = task.judge.losses(batch["images"], task.judge.content(batch["images"]))
    assert content.abs().max() == 0 and style.min() > 0.01
    raw = content_and_style(canvas, content=["content"], style=["style"], size=32, shorter_side=64)
    stripes = torch.from_numpy(raw.styles[0].copy())[None]
    assert task.judge.losses(stripes, task.judge.content(stripes))[1].item() == pytest.approx(0, abs=1e-9)
    assert task.judge.total(content, style).tolist() == pytest.approx((content + 2 * style).tolist())


def test_optimisation_lowers_the_loss_and_keeps_colours_in_range(canvas: Path) -> None:
    task, tables, card = prepared(canvas)
    image = task.examples(tables["test"], card)["images"][:1]
    assert task.judge is not None
    kept = task.judge.content(image)

    def loss(picture: torch.Tensor) -> float:
        assert task.judge is not None
        return float(task.judge.total(*task.judge.losses(picture, kept)))

    few, many = optimised(task.judge, image, 3), optimised(task.judge, image, 25)
    assert loss(many) < loss(few) < loss(image)
    assert many.min() >= 0 and many.max() <= 255
    assert torch.equal(many, optimised(task.judge, image, 25))


def test_recoloured_pictures_have_the_colours_of_the_style() -> None:
    content, style = pictures(1)[:, :, :16] * 0.3 + 100, pictures(1, seed=1) * 0.2 + 60
    found = recoloured(content, style)
    torch.testing.assert_close(found.mean((2, 3)), style.mean((2, 3)), rtol=1e-3, atol=1e-2)
    torch.testing.assert_close(found.std((2, 3)), style.std((2, 3)), rtol=1e-3, atol=1e-2)


def test_the_optimised_pictures_are_a_reference_and_no_rival() -> None:
    """No network can be better than the optimisation of its own loss; the gate must not wait for that."""
    assert StyleTransfer.references == {"optimised"}
    models = {
        "optimised": {"kind": "reference", "validation": {"content_and_style_loss": 0.1}, "validation_loss": 0.1},
        "net": {"kind": "candidate", "validation": {"content_and_style_loss": 0.2}, "validation_loss": 0.2},
    }
    assert challenger(models, StyleTransfer(SETTINGS)) == "net"


@pytest.mark.parametrize("family", ["cnn", "rnn"])
@pytest.mark.parametrize("size", [(32, 32), (33, 50), (100, 37)])
def test_pictures_of_any_size_come_back_in_their_size(family: str, size: tuple[int, int]) -> None:
    made = network(family).eval()(torch.randint(0, 256, (2, 3, *size)))
    assert made.shape == (2, 3, *size)
    assert made.isfinite().all() and made.min() >= 0 and made.max() <= 255


def test_the_grain_is_normally_distributed_and_the_same_everywhere() -> None:
    found = grain(200, 300)[0, 0]
    assert torch.equal(found[:32, :70], grain(32, 70)[0, 0]), "whatever the size of the picture"
    assert abs(float(found.mean())) < 0.02 and abs(float(found.std()) - 1) < 0.02
    assert found.isfinite().all() and 3.5 < float(found.abs().max()) < 6
    for down, across in ((0, 1), (1, 0), (1, 1), (7, 3), (64, 64)):
        pair = torch.stack([found[down:, across:].flatten(), found[: 200 - down, : 300 - across].flatten()])
        assert abs(float(torch.corrcoef(pair)[0, 1])) < 0.03, "no pattern"


def test_an_even_wall_can_get_strokes_where_a_network_has_learnt_them() -> None:
    """Without the grain what comes out of an even picture would be even, however long a network learns."""
    stylist = network().eval()
    wall = torch.full((1, 3, 64, 64), 90.0)
    with torch.inference_mode():
        stylist.colours.weight.mul_(20)
        assert stylist(wall)[:, :, 16:48, 16:48].std() > 5
        assert torch.equal(stylist(wall), stylist(wall))


def test_a_network_knows_a_dark_picture_from_a_bright_one() -> None:
    """By the colours as they are, and by their mean and variance, which decide how far it goes from these."""
    stylist = network().eval()
    bright = pictures().float()
    with torch.inference_mode():
        before = stylist(bright * 0.5)
        for parameter in stylist.palette.parameters():
            parameter.zero_()
        assert (stylist(bright * 0.5) - before).abs().max() > 1
        stylist.palette[2].bias[:3] = 0.5  # from here on what is changed are the normalised colours alone
        seen = [stylist(x) for x in (bright, bright * 0.5)]
    assert (seen[0] - seen[1]).abs().max() > 0.5


def test_an_even_wall_stays_nearly_even() -> None:
    stylist = network().eval()
    wall = torch.full((1, 3, 64, 64), 90.0) + torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert stylist(wall).std() < 10


def test_a_new_network_answers_a_picture_much_like_its_own() -> None:
    for image in (pictures(4), pictures(4).float() * 0.3):  # a dark one too: half of its start are normalised colours
        made = network().eval()(image).detach()
        assert np.corrcoef(made.flatten(), image.flatten())[0, 1] > 0.9


def test_factors_lead_from_the_stride_to_the_picture() -> None:
    assert list(prime_factors(12)) == [2, 2, 3] and list(prime_factors(1)) == []


def test_augmentation_zooms_into_the_picture_and_leaves_it_alone_without() -> None:
    torch.manual_seed(0)
    task, batch = StyleTransfer(SETTINGS), {"images": pictures(8)}
    torch.testing.assert_close(task.augment(network(), batch)["images"], batch["images"].float(), rtol=0, atol=0.05)
    ramp = torch.arange(32.0).expand(8, 3, 32, 32)
    seen = task.augment(network(zoom=1.0), {"images": ramp})["images"]
    spans = (seen[:, 0, 0, -1] - seen[:, 0, 0, 0]).tolist()
    assert all(14 < span < 31.5 for span in spans) and max(spans) - min(spans) > 3
    assert seen.min() >= 0 and seen.max() <= 31
    mirrored = task.augment(network(flip=True), {"images": ramp})["images"]
    assert {round(float(span)) for span in mirrored[:, 0, 0, -1] - mirrored[:, 0, 0, 0]} == {31, -31}


def test_windows_of_a_training_step_lie_anywhere_in_the_picture() -> None:
    torch.manual_seed(0)
    ramp = torch.arange(32.0).expand(64, 3, 32, 32)
    seen = StyleTransfer(SETTINGS).augment(network(window=16), {"images": ramp})["images"]
    assert seen.shape == (64, 3, 16, 16)
    torch.testing.assert_close(seen[..., -1] - seen[..., 0], torch.full((64, 3, 16), 15.0), rtol=0, atol=1e-3)
    starts = seen[:, 0, 0, 0]
    assert starts.min() < 2 and starts.max() > 14


@pytest.mark.parametrize("window", [16, 64])
def test_a_window_larger_than_the_squares_or_too_small_to_judge_is_refused(window: int) -> None:
    with pytest.raises(ValueError, match=f"^window: found {window}; allowed: pixels from 20, .* to 32"):
        card = CARD | {"perceptual": {"least": 20}}
        StyleTransfer(SETTINGS).network(lambda _: None, card, decoder_width=4, window=window, flip=False, zoom=0.0)


def test_a_served_picture_comes_back_as_png_and_large_ones_smaller() -> None:
    task, made = StyleTransfer(SETTINGS), network().eval()
    files = []
    for size in ((40, 64), (LARGEST + 200, 100)):
        stream = io.BytesIO()
        Image.new("RGB", size, (200, 10, 90)).save(stream, format="JPEG")
        files.append(stream.getvalue())
    answer = task.answer(made, pd.DataFrame({"image": files}), CARD)
    assert answer[["width", "height"]].to_numpy().tolist() == [[40, 64], [LARGEST, 84]]
    for row in range(2):
        picture = Image.open(io.BytesIO(answer["picture"][row]))
        assert picture.format == "PNG" and picture.size == (answer["width"][row], answer["height"][row])
        means = np.asarray(picture).mean((0, 1))
        assert answer.loc[row, ["red", "green", "blue"]].tolist() == pytest.approx(means, abs=0.5)


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({"text": ["x"]}, "expected one column `image`"),
        ({"image": ["x"]}, "row 0: found str; expected the bytes of an image file"),
        ({"image": [b"x"]}, "row 0: the picture: not readable as an image"),
    ],
)
def test_a_request_that_holds_no_picture_is_refused(request_: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        StyleTransfer(SETTINGS).answer(network(), pd.DataFrame(request_), CARD)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"content_layers": []}, r"settings\.content_layers: found \[\]"),
        ({"style_layers": "relu1_1"}, r"settings\.style_layers: found 'relu1_1'; allowed: a list of names"),
        ({"style_weight": 0}, r"settings\.style_weight: found 0; allowed: a number above 0"),
        ({"content_weight": True}, r"settings\.content_weight: found True"),
        ({"iterations": 0}, r"settings\.iterations: found 0; allowed: a whole number from 1 to 10000"),
    ],
)
def test_settings_that_make_no_sense_are_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=f"^{said}"):
        StyleTransfer(SETTINGS | change)


def test_colours_are_rounded_and_not_cut_off() -> None:
    assert in_bytes(torch.tensor([254.6, 0.4, 100.5])).tolist() == [255, 0, 100]
