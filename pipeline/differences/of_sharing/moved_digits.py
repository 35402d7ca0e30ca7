"""Whether answers stay the same when a digit moves on its canvas by one pixel."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.differences import networks
from pipeline.differences.canvas import DIGIT, SIDE, batch_of, placed_at, test_digits, train_digits
from pipeline.differences.networks import Design, Reader, cnn, made, matched, parameter_count, rnn
from pipeline.differences.of_sharing.untied import loss
from pipeline.differences.optimise import generator, train
from pipeline.differences.paired import Measured


@cache
def designs() -> dict[str, Design]:
    """Describes a network of each family, with as many parameters as each other."""
    convolutional = cnn("resnet", width=16, depth=2, kernel_size=3)
    target = parameter_count(network(convolutional, 0))
    swept = matched(lambda hidden: rnn("gru", hidden=hidden, patch=2), target, 1, 10, dimensions=2, causal=False)
    return {"cnn on digits": convolutional, "gru on digits": swept}


def network(design: Design, seed: int) -> Reader:
    return made(seed, design, 1, 10, dimensions=2, causal=False, read="mean")


def sizes() -> dict[str, dict[str, int]]:
    """Returns both matchings for one canvas."""
    canvas = torch.zeros(1, 1, SIDE, SIDE)
    return {name: networks.sizes(network(design, 0), canvas) for name, design in designs().items()}


def shift_consistency(design: Design, seed: int, *, rate: float, steps: int, batch: int) -> tuple[float, float]:
    """Measures accuracy on test digits, and the share of equal answers after a move by one pixel inside the canvas."""
    classifier = network(design, seed)
    draw, digits = generator(seed, "canvas"), train_digits()
    train(
        classifier, lambda: batch_of(draw, digits, batch)[:2], loss,
        steps=steps, rate=rate,
    )  # fmt: skip
    pictures, classes = test_digits()
    fresh = generator(seed, "shift")
    corners = torch.randint(1, SIDE - DIGIT, (len(pictures), 2), generator=fresh)  # one pixel of room on every side
    moves = torch.tensor([[-1, 0], [1, 0], [0, -1], [0, 1]])[torch.randint(4, (len(pictures),), generator=fresh)]
    return consistency(classifier, placed_at(pictures, corners), placed_at(pictures, corners + moves), classes)


@torch.inference_mode()
def consistency(classifier: nn.Module, x: Tensor, moved: Tensor, classes: Tensor) -> tuple[float, float]:
    """Measures accuracy on x, and the share of answers that are the same for x and for the moved x."""
    answers, answers_moved = classifier(x).argmax(1), classifier(moved).argmax(1)
    return float((answers == classes).float().mean()), float((answers == answers_moved).float().mean())


def sentence(measured: Measured) -> str:
    """Describes the consistency together with the accuracy, without which it means little."""
    right, same = (
        " and ".join(f"{np.mean(measured.of(name, kind)):.0%} ({name.split()[0]})" for name in designs())
        for kind in ("accuracy", "consistency")
    )
    return f"of the answers to digits {right} are right and {same} stay the same after a move by one pixel"
