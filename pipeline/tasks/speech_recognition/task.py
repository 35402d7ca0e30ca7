"""Speech recognition: characters or words of recordings, by connectionist temporal classification (Graves et al. 2006).

The network reads log-mel features, which are computed on the batch, on the device. Each step of them names a token (a
character or a word) or none; steps in a row that name the same are one. Decoding is greedy: the likeliest each time.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.data.tables import Batch, Card, Prepared, Table
from pipeline.models.encoder import check_ranges
from pipeline.tasks.settings import YES_OR_NO, number, one_of, whole
from pipeline.tasks.speech_recognition.network import FULL, CTCNetwork, LogMel, known_steps
from pipeline.tasks.task import Encoders, Task

if TYPE_CHECKING:
    from pipeline.tasks.probes import Probe

BLANK = 0
MASKS = 2  # of each kind in one recording


class SpeechRecognition(Task):
    score = "word_error_rate"
    maximize = False
    dimensions = 1
    dependent = False
    corpus = True
    lengths = ("lengths",)
    reads = "recording"
    progress = "right_transcripts"
    SETTINGS: ClassVar = {
        "window": number(0.002, 0.2), "hop": number(0.001, 0.1), "bands": whole(4, 256), "longest": number(0.1, 3600),
        "normalise": one_of("recording", "train"), "units": one_of("characters", "words"), "lowercase": YES_OR_NO,
    }  # fmt: skip
    RANGES: ClassVar[Mapping[str, tuple[float, float]]] = {
        "stack": (1, 16), "trim": (0.0, 0.45), "speed": (0.0, 1.0), "gain": (0.0, 40.0), "noise": (0.0, 1.0),
        "time_mask": (0.0, 0.9), "band_mask": (0.0, 0.9),
    }  # fmt: skip

    def prepare(self, parts: Mapping[str, Any], split: Mapping[str, float | None], seed: int) -> Prepared:
        from pipeline.tasks.speech_recognition.preparation import prepare_recordings

        chosen = {name: self.settings[name] for name in ("units", "lowercase", "longest")}
        return prepare_recordings(dict(parts), split, seed, self.ear, **chosen)

    def ear(self, sample_rate: int) -> LogMel:
        return LogMel(sample_rate, *(self.settings[name] for name in ("window", "hop", "bands")))

    def examples(self, table: Table, card: Card) -> Batch:
        return {name: table[name] for name in ("samples", "lengths", "targets", "target_lengths", "reference")}

    def network(  # type: ignore[override]  # the keywords are this task's parameters in params.yaml
        self, encoders: Encoders, card: Card, *, stack: int, trim: float, speed: float, gain: float, noise: float,
        time_mask: float, band_mask: float,
    ) -> CTCNetwork:  # fmt: skip
        """Reads `stack` frames together. The rest changes recordings in training, each by its own draw."""
        augmentation = {"trim": trim, "speed": speed, "gain": gain, "noise": noise}
        augmentation |= {"time_mask": time_mask, "band_mask": band_mask}
        check_ranges(self.RANGES, stack=stack, **augmentation)
        encoder, most = encoders((self.settings["bands"] + 1) * stack), card["frames_for_a_token"]
        if stack * encoder.stride > most:
            detail = f"{stack}, which with a patch of {encoder.stride} is {stack * encoder.stride} frames for a step"
            raise ValueError(f"stack: found {detail}; allowed: up to {most}, or recordings of train have too few steps")
        ear, by_recording = self.ear(card["sample_rate"]), self.settings["normalise"] == "recording"
        return CTCNetwork(encoder, ear, by_recording, card, stack=stack, augmentation=augmentation)

    def augment(self, network: nn.Module, batch: Batch) -> Batch:
        """Returns the features of the batch, of changed samples and with masks over them (Park et al. 2019)."""
        assert isinstance(network, CTCNetwork)
        chosen, lengths = network.augmentation, batch["lengths"]
        samples, count = batch["samples"][:, : int(lengths.max())] / FULL, len(lengths)
        if chosen["trim"]:
            shares = chosen["trim"] * torch.rand(2, count, device=samples.device)
            samples, lengths = without_ends(samples, lengths, shares)
        if chosen["speed"]:
            factors = (1 + chosen["speed"]) ** (2 * torch.rand(count, device=samples.device) - 1)
            samples, lengths = at_speed(samples, lengths, factors)
        samples = samples * 10 ** (chosen["gain"] * (2 * torch.rand(count, 1, device=samples.device) - 1) / 20)
        if chosen["noise"]:
            loudness = (samples.square().sum(1, keepdim=True) / lengths[:, None]).sqrt()
            levels = chosen["noise"] * torch.rand_like(loudness) * loudness * known_steps(lengths, samples.shape[1])
            samples = samples + levels * torch.randn_like(samples)
        features, frames = network.hear(samples, lengths), network.ear.frames(lengths)
        bands = torch.full_like(frames, features.shape[1])
        for _ in range(MASKS):
            features = features * unmasked(frames, features.shape[2], chosen["time_mask"])[:, None]
            features = features * unmasked(bands, features.shape[1], chosen["band_mask"])[:, :, None]
        return {**batch, "features": features, "lengths": lengths}

    def output(self, network: nn.Module, batch: Batch) -> Tensor:
        """Returns (B, T', tokens) logits, zero behind the recordings."""
        assert isinstance(network, CTCNetwork)
        if "features" in batch:
            return network(batch["features"], batch["lengths"])  # type: ignore[no-any-return]
        lengths, whole = batch["lengths"], torch.tensor(batch["samples"].shape[1])
        logits = network(network.hear(batch["samples"][:, : int(lengths.max())], lengths), lengths)
        return functional.pad(logits, (0, 0, 0, int(network.steps(whole)) - logits.shape[1]))

    def loss(self, network: nn.Module, output: Tensor, batch: Batch) -> Tensor:
        """Averages the loss of a token over the recordings. A recording too short for its tokens counts nothing."""
        assert isinstance(network, CTCNetwork)
        steps, wanted = network.steps(batch["lengths"]), batch["target_lengths"]
        spoken = output.log_softmax(2).transpose(0, 1)  # (T', B, tokens)
        return functional.ctc_loss(spoken, batch["targets"], steps, wanted, BLANK, zero_infinity=True)

    def scores(self, output: Tensor, batch: Batch, card: Card) -> Tensor:
        """Returns (B,) 1 where the whole transcript is right."""
        both = (written(output), batch["targets"])
        width = max(tokens.shape[1] for tokens in both)
        predicted, wanted = (functional.pad(tokens, (0, width - tokens.shape[1])) for tokens in both)
        return (predicted == wanted).all(1).float()

    @torch.inference_mode()
    def infer(self, network: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Returns (B, T') tokens that are written, blanks behind them, and (B,) how sure the network is of a step."""
        assert isinstance(network, CTCNetwork)
        logits, steps = self.output(network, batch), network.steps(batch["lengths"])
        sure = (logits.log_softmax(2).amax(2) * known_steps(steps, logits.shape[1])).sum(1) / steps
        return written(logits), sure.exp()

    def predict(self, network: nn.Module, examples: Batch, card: Card) -> pd.DataFrame:
        """Predicts single recordings, as they are served: in a batch, sums and so tokens of equal chance may differ."""
        from pipeline.tasks.speech_recognition.metrics import prediction_table

        count = len(examples["lengths"])
        single = ({name: tensor[row : row + 1] for name, tensor in examples.items()} for row in range(count))
        return prediction_table([self.infer(network, one) for one in single], examples, card)

    def resampled_metrics(self, predictions: pd.DataFrame, card: Card, weights: np.ndarray) -> dict[str, np.ndarray]:
        from pipeline.tasks.speech_recognition.metrics import resampled_metrics

        return resampled_metrics(predictions, weights)

    def example_scores(self, predictions: pd.DataFrame) -> np.ndarray:
        """Returns (N,) word error rates of single recordings."""
        return (predictions["word_errors"] / predictions["words"]).to_numpy(np.float64)

    def baselines(self, tables: Mapping[str, Table], card: Card, seed: int) -> dict[str, dict[str, pd.DataFrame]]:
        from pipeline.tasks.speech_recognition.baselines import cepstral_predictions

        return {"cepstra": cepstral_predictions(tables, card, seed, self.ear(card["sample_rate"]))}

    def guesses(self, tables: Mapping[str, Table], card: Card, seed: int) -> dict[str, dict[str, pd.DataFrame]]:
        from pipeline.tasks.speech_recognition.guesses import transcript_guesses

        return transcript_guesses(tables, card)

    def pictures(self, predictions: pd.DataFrame, table: Table, card: Card, folder: Path, title: str) -> list[Path]:
        from pipeline.tasks.speech_recognition.plots import errors_by_length, spectrograms

        heard = spectrograms(predictions, table, self.ear(card["sample_rate"]), folder / "transcripts.png", title)
        return [heard, errors_by_length(predictions, folder / "errors_by_length.png", title)]

    def input_example(self, table: Table, card: Card) -> pd.DataFrame:
        from pipeline.tasks.speech_recognition.metrics import wav_files

        return pd.DataFrame({"audio": wav_files(table, card, 3)})

    def answer(self, network: nn.Module, request: pd.DataFrame, card: Card) -> pd.DataFrame:
        from pipeline.tasks.speech_recognition.metrics import answer_table, heard

        examples = heard(request, card)
        return answer_table(self.predict(network, examples, card) if len(request) else None)

    def predictions_of(self, responses: pd.DataFrame, table: Table, card: Card) -> pd.DataFrame:
        from pipeline.tasks.speech_recognition.metrics import compared

        return compared(responses["transcript"].tolist(), responses["confidence"].tolist(), table, card)

    def probes(self, table: Table, predictions: pd.DataFrame, card: Card) -> list[Probe]:
        from pipeline.tasks.speech_recognition.probes import speech_probes

        return speech_probes(table, predictions, card)


def written(logits: Tensor) -> Tensor:
    """Maps (B, T, tokens) to (B, T): the likeliest tokens, one for each run of the same, without blanks between."""
    tokens = logits.argmax(2)
    kept = (tokens != functional.pad(tokens[:, :-1], (1, 0), value=-1)) & (tokens != BLANK)
    return (tokens * kept).gather(1, (~kept).to(torch.uint8).argsort(dim=1, stable=True))


def without_ends(samples: Tensor, lengths: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
    """Cuts shares (2, B) of each recording, (B, S) and lengths (B,), off its beginning and off its end."""
    starts, rest = (shares[0] * lengths).long(), lengths - (shares * lengths).long().sum(0)
    places = torch.arange(int(rest.max()), device=samples.device) + starts[:, None]
    kept = samples.gather(1, places.clamp_max(samples.shape[1] - 1))
    return kept * known_steps(rest, kept.shape[1]), rest


def at_speed(samples: Tensor, lengths: Tensor, factors: Tensor) -> tuple[Tensor, Tensor]:
    """Plays (B, S) and lengths (B,) `factors` (B,) times as fast, also higher or lower by that (Ko et al. 2015)."""
    ends = (lengths / factors).long().clamp_min(1)
    places = torch.arange(int(ends.max()), device=samples.device) * factors[:, None]
    before = torch.minimum(places.long(), (lengths - 1)[:, None])
    after = torch.minimum(before + 1, (lengths - 1)[:, None])
    played = torch.lerp(samples.gather(1, before), samples.gather(1, after), places - places.floor())
    return played * known_steps(ends, played.shape[1]), ends


def unmasked(sizes: Tensor, width: int, share: float) -> Tensor:
    """Returns (B, width) bool, False in a stretch of each row whose length is drawn up to a share of its size (B,)."""
    drawn: Tensor = torch.rand(2, len(sizes), 1, device=sizes.device)
    length = drawn[0] * share * sizes[:, None]
    place = torch.arange(width, device=sizes.device) + 0.5 - drawn[1] * (sizes[:, None] - length)
    return (place < 0) | (place >= length)
