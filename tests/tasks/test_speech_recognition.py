"""Speech recognition: what the network hears, how tokens become transcripts, how errors count, what is refused."""

from __future__ import annotations

import itertools
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from pipeline.data.tables import read_card, read_table
from pipeline.formats.audio import written as wav
from pipeline.models import FAMILIES
from pipeline.params import load
from pipeline.tasks import load_task
from pipeline.tasks.network import build_network
from pipeline.tasks.speech_recognition.metrics import compared, edits, resampled_metrics
from pipeline.tasks.speech_recognition.network import LogMel, mel_filters
from pipeline.tasks.speech_recognition.task import at_speed, unmasked, without_ends, written

RATE = 8000
CARD = {"sample_rate": RATE, "alphabet": ["a", "b"], "units": "characters", "lowercase": False}


def sine(hertz: float, seconds: float = 0.5) -> Tensor:
    return 0.5 * torch.sin(2 * torch.pi * hertz * torch.arange(round(RATE * seconds)) / RATE)


def test_mel_filters_are_triangles_that_share_their_edges() -> None:
    filters = mel_filters(RATE, 1024, 20)
    assert filters.shape == (20, 513) and float(filters.min()) == 0 and float(filters.max()) <= 1
    tops = filters.argmax(1)
    assert (tops.diff() > 0).all()
    between = filters[:, int(tops[0]) + 1 : int(tops[-1])].sum(0)  # a falling side and a rising one
    torch.testing.assert_close(between, torch.ones_like(between))


def test_a_tone_sounds_in_the_band_in_which_it_lies() -> None:
    ear = LogMel(RATE, 0.025, 0.01, 40)
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 4000 / 700), 42) / 2595) - 1)
    for band in (5, 17, 33):
        heard = ear(sine(edges[band + 1])[None])[0]
        assert (heard[:, 5:-5].argmax(0) == band).all()


def test_loudness_adds_the_same_to_all_bands() -> None:
    ear = LogMel(RATE, 0.025, 0.01, 10)
    sound = torch.rand(1, 4000, generator=torch.Generator().manual_seed(0)) - 0.5
    torch.testing.assert_close(
        ear(0.5 * sound) - ear(sound), torch.full((1, 10, 51), 2 * np.log(0.5)), atol=1e-3, rtol=0
    )


def test_every_band_has_a_frequency_however_many_bands_there_are() -> None:
    ear = LogMel(RATE, 0.01, 0.01, 128)
    assert ear.filters.any(1).all() and ear.size > 128
    assert ear(torch.zeros(1, 80)).shape == (1, 128, 2) == (1, 128, int(ear.frames(torch.tensor(80))))


def one_hot(*rows: str) -> Tensor:
    """Logits of tokens: - for none."""
    return torch.stack(
        [functional.one_hot(torch.tensor(["-ab".index(token) for token in row]), 3) for row in rows]
    ).float()


def test_runs_become_one_sign_and_blanks_part_twins() -> None:
    found = written(one_hot("aa-ab-", "------", "ababab", "--bb-b"))
    assert found.tolist() == [[1, 1, 2, 0, 0, 0], [0] * 6, [1, 2, 1, 2, 1, 2], [2, 2, 0, 0, 0, 0]]


def distance(found: tuple[str, ...], truth: tuple[str, ...]) -> int:
    @cache
    def left(i: int, j: int) -> int:
        if i == len(found) or j == len(truth):
            return len(found) - i + len(truth) - j
        return min(left(i + 1, j) + 1, left(i, j + 1) + 1, left(i + 1, j + 1) + (found[i] != truth[j]))

    return left(0, 0)


def test_edits_are_the_fewest() -> None:
    words = [row for length in range(4) for row in itertools.product("xyz", repeat=length)]
    draw = np.random.default_rng(0)
    pairs = [(words[i], words[j]) for i, j in draw.integers(0, len(words), (400, 2))]
    pairs += [
        (("k", "i", "t", "t", "e", "n"), ("s", "i", "t", "t", "i", "n", "g")),
        ((), ()),
        ((), ("a",)),
        (("a",), ()),
    ]
    found = edits([one for one, _ in pairs], [other for _, other in pairs])
    assert found.tolist() == [distance(*pair) for pair in pairs]
    assert edits([], []).tolist() == []


def table(*pairs: tuple[str, str]) -> pd.DataFrame:
    from pipeline.data.tokens import as_bytes

    reference = torch.from_numpy(as_bytes([truth for truth, _ in pairs]))
    examples = {"reference": reference, "lengths": torch.full((len(pairs),), RATE)}
    return compared([found for _, found in pairs], [0.5] * len(pairs), examples, CARD)


def test_error_rates_are_of_all_words_together() -> None:
    found = table(("one two three", "one three"), ("four", "four four six"), ("five", "five"))
    assert found["word_errors"].tolist() == [1, 2, 0] and found["words"].tolist() == [3, 1, 1]
    figures = {name: float(value[0]) for name, value in resampled_metrics(found, np.ones((1, 3))).items()}
    assert figures == pytest.approx(
        {"word_error_rate": 3 / 5, "character_error_rate": (4 + 9) / (13 + 4 + 4), "recording_error_rate": 2 / 3}
    )
    twice = resampled_metrics(found, np.array([[2.0, 0.0, 1.0]]))
    assert float(twice["word_error_rate"][0]) == pytest.approx(2 / 7)


@pytest.fixture(scope="module")
def bench(prepared: Path) -> tuple[Any, Any, Any, Any]:
    params = load(prepared / "params.yaml")
    folder = prepared / "data/prepared/tones"
    task, card = load_task("speech_recognition", params.experiments["tones"].settings), read_card(folder)
    return params, task, card, task.examples(read_table(folder, "train"), card)


def network(bench: tuple[Any, Any, Any, Any], family: str, **changes: Any) -> Any:
    params, task, card, _ = bench
    entries = params.candidates[f"tones-{family}"].parameters.items()
    chosen = {name: getattr(entry, "choices", [getattr(entry, "high", entry)])[-1] for name, entry in entries}
    torch.manual_seed(0)
    return build_network(task, family, card, chosen | changes).eval()


@pytest.mark.parametrize("normalise", ["train", "recording"])
@pytest.mark.parametrize("family", FAMILIES)
def test_padding_further_changes_nothing(bench: tuple[Any, Any, Any, Any], family: str, normalise: str) -> None:
    params, _, card, examples = bench
    task = load_task("speech_recognition", {**params.experiments["tones"].settings, "normalise": normalise})
    model = network((params, task, card, examples), family)
    batch = {name: tensor[:6] for name, tensor in examples.items()}
    further = {
        "samples": functional.pad(batch["samples"], (0, 1234)),
        "targets": functional.pad(batch["targets"], (0, 3)),
    }
    with torch.inference_mode():
        near, far = (task.output(model, found) for found in (batch, {**batch, **further}))
        losses = [
            float(task.loss(model, found, given)) for found, given in ((near, batch), (far, {**batch, **further}))
        ]
    torch.testing.assert_close(near, far[:, : near.shape[1]])
    assert float(far[:, near.shape[1] :].abs().max()) == 0
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert torch.equal(*(task.infer(model, found)[0][:, :5] for found in (batch, {**batch, **further})))


@pytest.mark.parametrize("family", FAMILIES)
def test_without_any_augmentation_training_hears_what_evaluation_hears(
    bench: tuple[Any, Any, Any, Any], family: str
) -> None:
    _, task, _, examples = bench
    nothing = dict.fromkeys(("trim", "speed", "gain", "noise", "time_mask", "band_mask"), 0.0)
    model = network(bench, family, **nothing)
    batch = {name: tensor[:6] for name, tensor in examples.items()}
    with torch.inference_mode():
        heard = task.output(model, task.augment(model, batch))
        torch.testing.assert_close(heard, task.output(model, batch)[:, : heard.shape[1]])


def test_augmentation_follows_torchs_generator_and_changes_each_recording_in_its_own_way(
    bench: tuple[Any, Any, Any, Any],
) -> None:
    _, task, _, examples = bench
    model = network(bench, "cnn")
    batch = {name: tensor[:1].repeat_interleave(4, 0) for name, tensor in examples.items()}
    found = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        found.append(task.augment(model, batch))
    assert torch.equal(found[0]["features"], found[1]["features"]) and torch.equal(
        found[0]["lengths"], found[1]["lengths"]
    )
    assert (
        found[0]["features"].shape != found[2]["features"].shape or (found[0]["features"] != found[2]["features"]).any()
    )
    assert len(found[0]["lengths"].unique()) == 4 and torch.isfinite(found[0]["features"]).all()
    assert torch.equal(found[0]["targets"], batch["targets"])


def test_a_trimmed_recording_is_its_middle() -> None:
    samples = torch.arange(1.0, 101).repeat(3, 1)
    samples[2, 50:] = 0
    kept, rest = without_ends(samples, torch.tensor([100, 100, 50]), torch.tensor([[0.0, 0.2, 0.1], [0.0, 0.3, 0.4]]))
    assert rest.tolist() == [100, 50, 25]
    for row, middle in enumerate((samples[0], samples[1, 20:70], samples[2, 5:30])):
        assert torch.equal(kept[row, : len(middle)], middle) and not kept[row, len(middle) :].any()


def test_training_trims_up_to_the_share_at_either_end(bench: tuple[Any, Any, Any, Any]) -> None:
    _, task, _, examples = bench
    others = dict.fromkeys(("speed", "gain", "noise", "time_mask", "band_mask"), 0.0)
    batch = {name: tensor[:1].repeat_interleave(200, 0) for name, tensor in examples.items()}
    torch.manual_seed(0)
    lengths = task.augment(network(bench, "cnn", trim=0.25, **others), batch)["lengths"] / batch["lengths"]
    assert float(lengths.min()) >= 0.5 and float(lengths.max()) <= 1
    assert float(lengths.mean()) == pytest.approx(0.75, abs=0.02)


def test_a_faster_recording_is_shorter_and_higher() -> None:
    sound = sine(400.0)
    samples, lengths = (
        torch.stack([sound, sound, functional.pad(sound[:2000], (0, 2000))]),
        torch.tensor([4000, 4000, 2000]),
    )
    played, ends = at_speed(samples, lengths, torch.tensor([1.0, 1.25, 0.5]))
    assert ends.tolist() == [4000, 3200, 4000]
    assert torch.equal(played[0], sound)
    torch.testing.assert_close(played[1, :3200], sine(500.0)[:3200], atol=0.02, rtol=0)
    assert played[1, 3200:].abs().max() == 0
    torch.testing.assert_close(played[2, :3900], sine(200.0)[:3900], atol=0.02, rtol=0)


def test_masks_hide_at_most_their_share_of_each_recording() -> None:
    torch.manual_seed(0)
    sizes = torch.tensor([10, 50, 100] * 50)
    hidden = ~unmasked(sizes, 100, 0.3)
    assert (hidden.sum(1) <= 0.3 * sizes + 1).all() and hidden.any(1).float().mean() > 0.5
    starts, ends = hidden.int().argmax(1), 100 - hidden.flip(1).int().argmax(1)
    assert (hidden.sum(1) == (ends - starts).where(hidden.any(1), 0)).all(), "one stretch"
    assert (ends.where(hidden.any(1), 0) <= sizes).all()
    assert unmasked(sizes, 100, 0.0).all()


def test_steps_that_are_too_few_for_the_letters_are_refused_before_training(bench: tuple[Any, Any, Any, Any]) -> None:
    assert bench[2]["frames_for_a_token"] == 5
    with pytest.raises(
        ValueError, match=r"^stack: found 3, which with a patch of 2 is 6 frames for a step; allowed: up to 5"
    ):
        network(bench, "rnn", stack=3)


@pytest.mark.parametrize(
    ("name", "value"),
    [("window", 1.0), ("hop", "short"), ("bands", 12.5), ("bands", 3), ("normalise", "no"), ("units", "phones"),
     ("lowercase", 1), ("longest", 0)],
)  # fmt: skip
def test_settings_are_checked(bench: tuple[Any, Any, Any, Any], name: str, value: object) -> None:
    settings = dict(bench[0].experiments["tones"].settings) | {name: value}
    with pytest.raises(ValueError, match=rf"settings\.{name}: found {value!r}; allowed: "):
        load_task("speech_recognition", settings)


def test_seconds_may_be_whole_numbers(bench: tuple[Any, Any, Any, Any]) -> None:
    task = load_task("speech_recognition", {**bench[0].experiments["tones"].settings, "longest": 30})
    assert task.settings["longest"] == 30


def test_a_request_that_is_no_recording_is_refused_with_its_row(bench: tuple[Any, Any, Any, Any]) -> None:
    _, task, card, _ = bench
    model, good = network(bench, "cnn"), wav(np.zeros(900, dtype=np.int16), 4000)
    with pytest.raises(ValueError, match="one column `audio`"):
        task.answer(model, pd.DataFrame({"sound": [good]}), card)
    with pytest.raises(ValueError, match="row 1: found str; expected the bytes of a recording"):
        task.answer(model, pd.DataFrame({"audio": [good, "good"]}), card)
    with pytest.raises(ValueError, match=r"row 1: the recording: not readable as a recording \(the file is cut short"):
        task.answer(model, pd.DataFrame({"audio": [good, good[:-10]]}), card)


def test_words_are_written_with_blanks_between_them() -> None:
    from pipeline.tasks.speech_recognition.metrics import prediction_table

    examples = {"reference": torch.tensor([[97]]), "lengths": torch.tensor([RATE])}
    found = [(torch.tensor([[1, 2, 0]]), torch.tensor([0.5]))]
    for units, text in (("characters", "ab"), ("words", "a b")):
        assert prediction_table(found, examples, {**CARD, "units": units})["transcript"].tolist() == [text]


def test_the_baseline_knows_single_tones(prepared: Path, bench: tuple[Any, Any, Any, Any]) -> None:
    _, task, card, _ = bench
    tables = {split: read_table(prepared / "data/prepared/tones", split) for split in ("train", "validation", "test")}
    found = task.baselines(tables, card, 0)["cepstra"]["test"]
    assert task.metrics(found, card)["word_error_rate"] < 0.3
