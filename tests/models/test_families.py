"""One conformance suite for every architecture of every family over every shape of data."""

from __future__ import annotations

import copy
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from processor import needs_half_precision
from torch import Tensor, nn

from pipeline.models import FAMILIES, load_family
from pipeline.models.raster import IncrementalSampler


@dataclass(frozen=True)
class Case:
    family: str
    architecture: str
    dimensions: int
    causal: bool

    def build(self, in_channels: int = 3, seed: int = 0, **parameters: Any) -> nn.Module:
        torch.manual_seed(seed)
        family = load_family(self.family)
        chosen = {**family.EXAMPLE, **parameters}
        return family(in_channels, self.dimensions, self.causal, architecture=self.architecture, **chosen)

    def draw(self, batch: int = 4, channels: int = 3, steps: int = 13) -> Tensor:
        size = (7, 9) if self.dimensions == 2 else (steps,)
        return torch.randn(batch, channels, *size, generator=torch.Generator().manual_seed(1))


CASES = [
    Case(family, architecture, dimensions, causal)
    for family in FAMILIES
    for architecture in load_family(family).ARCHITECTURES
    for dimensions, causal in ((2, False), (2, True), (1, True), (1, False))
]
GRIDS = [case for case in CASES if case.dimensions == 2]
SEQUENCES = [case for case in CASES if case.dimensions == 1]
RASTERS = [case for case in GRIDS if case.causal]


def name(case: Case) -> str:
    shape = "grid" if case.dimensions == 2 else "sequence"
    return f"{case.family}-{case.architecture}-{'causal-' * case.causal}{shape}"


every = pytest.mark.parametrize("case", CASES, ids=name)
every_grid = pytest.mark.parametrize("case", GRIDS, ids=name)
every_raster = pytest.mark.parametrize("case", RASTERS, ids=name)
every_sequence = pytest.mark.parametrize("case", SEQUENCES, ids=name)


@every
def test_features_have_the_promised_shape_and_are_finite(case: Case) -> None:
    network, x = case.build(), case.draw()
    features = network(x)
    assert features.shape == (4, network.out_channels, *(-(-size // network.stride) for size in x.shape[2:]))
    assert features.isfinite().all()
    assert features.dtype == torch.float32


@every
def test_every_parameter_gets_a_gradient(case: Case) -> None:
    network = case.build(dropout=0.1)
    network(case.draw()).square().mean().backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        assert parameter.grad.abs().sum() > 0, key


@every
def test_loss_falls_on_a_tiny_batch(case: Case) -> None:
    network, x = case.build(), case.draw(8)
    head = nn.Linear(network.out_channels, 2)
    optimizer = torch.optim.Adam([*network.parameters(), *head.parameters()], lr=0.01)
    labels = torch.tensor([0, 1] * 4)
    losses = []
    for _ in range(25):
        loss = nn.functional.cross_entropy(head(network(x).flatten(2).mean(2)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


@every
def test_state_round_trip_gives_identical_features(case: Case) -> None:
    network, x = case.build(), case.draw()
    network(x)  # moves running statistics
    other = case.build(seed=1)
    other.load_state_dict(network.state_dict())
    assert torch.equal(network.eval()(x), other.eval()(x))


@every
def test_a_seed_fixes_weights_and_dropout(case: Case) -> None:
    def draw_features() -> Tensor:
        network = case.build(seed=3, dropout=0.3)
        torch.manual_seed(4)
        return network(case.draw())

    assert torch.equal(draw_features(), draw_features())


@every
def test_dropout_drops_in_training_only(case: Case) -> None:
    network, x = case.build(dropout=0.5), case.draw()
    assert not torch.equal(network(x), network(x))
    network.eval()
    assert torch.equal(network(x), network(x))


@every
def test_bfloat16_autocast_stays_close_to_float32(case: Case) -> None:
    needs_half_precision(case.architecture)
    network, x = case.build().eval(), case.draw()
    exact = network(x)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = network(x).float()
    assert rounded.isfinite().all()
    assert (rounded - exact).abs().max() < 0.1 * max(1.0, exact.abs().max().item())


def sequence_network(case: Case) -> nn.Module:
    return case.build(kernel_size=3, depth=3) if case.family == "cnn" else case.build()


LENGTHS = torch.tensor([13, 1, 6, 10])
GARBAGE = torch.full((4, 3, 8), 1e3)


@every_sequence
def test_an_example_alone_equals_the_same_among_longer_ones(case: Case) -> None:
    network, x = sequence_network(case).eval(), case.draw()
    features = network(torch.cat([x, GARBAGE], dim=2), LENGTHS)
    for example, length in enumerate(LENGTHS.tolist()):
        alone = network(x[example : example + 1, :, :length], torch.tensor([length]))
        assert torch.allclose(features[example, :, : alone.shape[2]], alone[0], atol=1e-5)
        assert (features[example, :, alone.shape[2] :] == 0).all()


@every_sequence
def test_more_padding_changes_nothing_in_training(case: Case) -> None:
    network, x = sequence_network(case), case.draw()
    other = copy.deepcopy(network)
    features, padded = network(x, LENGTHS), other(torch.cat([x, GARBAGE], dim=2), LENGTHS)
    steps = features.shape[2]
    assert torch.allclose(padded[:, :, :steps], features, atol=1e-5)
    assert (padded[:, :, steps:] == 0).all()
    for name, moved in other.state_dict().items():
        assert torch.allclose(moved, network.state_dict()[name], atol=1e-5), name


@every_sequence
def test_full_lengths_equal_no_lengths(case: Case) -> None:
    network, x = case.build(), case.draw()
    assert torch.allclose(network(x), network(x, torch.full((4,), 13)), atol=1e-6)


@every_sequence
def test_causal_features_see_no_future_and_others_do(case: Case) -> None:
    network = case.build()
    assert network.training  # the statistics of a batch must not carry the future back either
    x = case.draw(steps=16)
    changed = x.clone()
    changed[:, :, 8:] += 5.0
    before, after = network(x), network(changed)
    past = 8 // network.stride
    assert torch.equal(before[:, :, :past], after[:, :, :past]) == case.causal
    assert not torch.equal(before[:, :, past:], after[:, :, past:])


@every_sequence
def test_last_feature_sees_the_first_and_the_last_step(case: Case) -> None:
    network = case.build().eval()
    x = case.draw(batch=8, steps=7).requires_grad_()
    network(x)[:, :, -1].square().sum().backward()
    assert x.grad is not None
    reach = x.grad.abs().sum(dim=(0, 1)) > 0
    assert reach[0] and reach[-1]


def raster(case: Case, **parameters: Any) -> nn.Module:
    """A causal grid that keeps its size."""
    return case.build(**{"patch": 1, **parameters} if case.family == "rnn" else parameters)


@every_raster
@pytest.mark.parametrize("row, column", [(0, 0), (0, 4), (2, 0), (2, 3), (4, 4)])
def test_features_of_a_causal_grid_see_what_comes_before_in_raster_order_and_nothing_else(
    case: Case, row: int, column: int
) -> None:
    """Also in training; and everything before: there is no blind spot."""
    network = raster(case, **({"depth": 5} if case.family == "cnn" else {"layers": 1}))
    assert network.training
    x = torch.randn(2, 3, 5, 5, generator=torch.Generator().manual_seed(1)).requires_grad_()
    network(x)[:, :, row, column].square().sum().backward()
    assert x.grad is not None
    seen = (x.grad.abs().sum(1) > 0).flatten(1)  # (B, H * W)
    before = torch.arange(25) <= row * 5 + column
    assert torch.equal(seen, before.expand_as(seen))


@every_raster
def test_a_changed_position_changes_no_earlier_feature(case: Case) -> None:
    network, x = case.build(), case.draw()  # with patches of two for the recurrent family
    changed = x.clone()
    changed[:, :, 4, 4] += 5.0
    before, after = network(x).flatten(2), network(changed).flatten(2)
    place = (4 // network.stride) * -(-9 // network.stride) + 4 // network.stride
    assert torch.equal(before[:, :, :place], after[:, :, :place])
    assert not torch.equal(before[:, :, place], after[:, :, place])


@every_raster
@pytest.mark.parametrize("size", [(1, 1), (4, 5)])
def test_a_walk_over_a_causal_grid_finds_the_features_of_the_whole(case: Case, size: tuple[int, int]) -> None:
    network = raster(case).double().eval()
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    walk, rows = IncrementalSampler(network.raster), []
    with torch.inference_mode():
        for row in range(size[0]):
            walk.next_row(x[:, :, row - 1] if row else torch.zeros_like(x[:, :, 0]))
            rows.append(torch.stack([walk.next(x[:, :, row, column]) for column in range(size[1])], dim=2))
        torch.testing.assert_close(torch.stack(rows, dim=2), network(x), rtol=1e-10, atol=1e-12)


@every_grid
@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format], ids=["last", "first"])
def test_memory_layout_changes_no_feature(case: Case, memory_format: torch.memory_format) -> None:
    network, x = case.build().eval(), case.draw()
    expected = network(x)
    assert torch.allclose(
        network.to(memory_format=memory_format)(x.contiguous(memory_format=memory_format)), expected, atol=1e-5
    )


@every_grid
@pytest.mark.parametrize("channels, size", [(1, (8, 8)), (3, (8, 8)), (1, (28, 28)), (3, (1, 1))])
def test_pictures_of_one_or_three_channels_fit(case: Case, channels: int, size: tuple[int, int]) -> None:
    network = case.build(channels).eval()
    features = network(torch.randn(2, channels, *size))
    assert features.shape[2:] == tuple(-(-side // network.stride) for side in size)
    assert features.isfinite().all()


@every
def test_unknown_architecture_is_refused_with_the_nearest_name(case: Case) -> None:
    family = load_family(case.family)
    wrong = case.architecture + "x"
    with pytest.raises(ValueError, match=f"Did you mean '{case.architecture}'.*Choose one of: "):
        family(3, case.dimensions, case.causal, architecture=wrong, **family.EXAMPLE)


@pytest.mark.parametrize("family", FAMILIES)
def test_values_outside_their_range_are_all_named(family: str) -> None:
    encoder = load_family(family)
    architecture = next(iter(encoder.ARCHITECTURES))
    above = {key: high + 1 for key, (_, high) in encoder.RANGES.items()}
    with pytest.raises(ValueError) as caught:
        encoder(3, 2, False, architecture=architecture, **above)
    for key, (low, high) in encoder.RANGES.items():
        assert f"{key} is {high + 1}, allowed is {low} to {high}" in str(caught.value)


@pytest.mark.parametrize("family", FAMILIES)
def test_example_and_ranges_name_every_hyperparameter(family: str) -> None:
    encoder = load_family(family)
    assert set(encoder.EXAMPLE) == set(encoder.RANGES)
    assert set(encoder.__init__.__kwdefaults__ or {}) == set()  # every value stands in params.yaml


@pytest.mark.parametrize("family", FAMILIES)
def test_cubes_are_refused(family: str) -> None:
    encoder = load_family(family)
    architecture = next(iter(encoder.ARCHITECTURES))
    with pytest.raises(ValueError, match="dimensions is 3"):
        encoder(3, 3, False, architecture=architecture, **encoder.EXAMPLE)


def test_unknown_family_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ValueError, match=r"unknown family 'ccn'\. Did you mean 'cnn'\? Choose one of: cnn, rnn"):
        load_family("ccn")


@pytest.mark.parametrize("family", FAMILIES)
def test_loading_one_family_imports_no_other(family: str) -> None:
    modules = {name: f"pipeline.models.{entry.split(':')[0]}" for name, entry in FAMILIES.items()}
    others = {module for name, module in modules.items() if name != family}
    code = f"import sys; from pipeline.models import load_family; load_family({family!r}); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert modules[family] in loaded
    assert not others & set(loaded)
