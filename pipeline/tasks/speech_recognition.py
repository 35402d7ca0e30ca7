"""Speech recognition: characters or words of recordings, by connectionist temporal classification (Graves et al. 2006).

The network hears log-mel features, which are computed on the batch, on the device. Each step of them names a token (a
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

from pipeline.data.tables import Prepared, Table
from pipeline.models.encoder import Encoder, check_ranges
from pipeline.tasks.settings import YES_OR_NO, number, one_of, whole
from pipeline.tasks.task import Batch, Card, Encoders, Task

if TYPE_CHECKING:
    from pipeline.tasks.probes import Probe

FULL = 32_768  # the sample that stands for 1.0
FLOOR = 1e-6  # of the energy of a band: what 16 bits leave of silence
BLANK = 0
MASKS = 2  # of each kind in one recording


class LogMel(nn.Module):
    """The logarithm of the energy in bands that are evenly wide on the mel scale (Davis and Mermelstein 1980)."""

    window: Tensor
    filters: Tensor

    def __init__(self, sample_rate: int, window: float, hop: float, bands: int) -> None:
        super().__init__()  # window and hop are in seconds
        self.hop, length = max(round(hop * sample_rate), 1), max(round(window * sample_rate), 2)
        self.size = 1 << (length - 1).bit_length()
        while not (filters := mel_filters(sample_rate, self.size, bands)).any(1).all():
            self.size *= 2  # a band lay between two frequencies of the transform; a longer one has more
        self.register_buffer("window", torch.hann_window(length), persistent=False)
        self.register_buffer("filters", filters, persistent=False)

    def frames(self, lengths: Tensor) -> Tensor:
        """Numbers of samples → numbers of frames: one is centred on every hop, also on the first sample."""
        return lengths // self.hop + 1

    def forward(self, samples: Tensor) -> Tensor:
        """(B, S) from -1 to 1 → (B, bands, frames); beyond both ends there is silence."""
        padded, window = functional.pad(samples, (self.size // 2, self.size // 2)), self.window
        spectrum = torch.stft(padded, self.size, self.hop, len(window), window, center=False, return_complex=True)
        return (self.filters @ spectrum.abs().square()).add(FLOOR).log()


def mel_filters(sample_rate: int, size: int, bands: int) -> Tensor:
    """(bands, size / 2 + 1) triangles over the frequencies of a transform; each reaches to the middle of the next."""
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + sample_rate / 2 / 700), bands + 2) / 2595) - 1)  # Hz
    frequencies = np.linspace(0, sample_rate / 2, size // 2 + 1)
    rise = (frequencies - edges[:-2, None]) / np.diff(edges)[:-1, None]
    fall = (edges[2:, None] - frequencies) / np.diff(edges)[1:, None]
    return torch.from_numpy(np.maximum(np.minimum(rise, fall), 0)).float()


def known_steps(lengths: Tensor, steps: int) -> Tensor:
    """(B, steps) bool, True where a step belongs to its recording."""
    return torch.arange(steps, device=lengths.device) < lengths[:, None]


class Listener(nn.Module):
    """Log-mel features and ones (beside them a step keeps its size where it is normalised), encoded → logits."""

    mean: Tensor
    deviation: Tensor

    def __init__(
        self, encoder: Encoder, task: SpeechRecognition, card: Card, *, stack: int, augmentation: Mapping[str, float]
    ) -> None:
        super().__init__()
        self.encoder, self.stack, self.augmentation = encoder, stack, augmentation
        self.ear = task.ear(card["sample_rate"])
        self.by_recording = task.settings["normalise"] == "recording"
        self.head = nn.Linear(encoder.out_channels, len(card["alphabet"]) + 1)
        for name in ("mean", "deviation"):
            self.register_buffer(name, torch.tensor(card[name], dtype=torch.float32)[:, None])

    def steps(self, lengths: Tensor) -> Tensor:
        """Numbers of samples → numbers of steps that name a token."""
        whole = self.stack * self.encoder.stride
        return (self.ear.frames(lengths) + whole - 1) // whole

    def hear(self, samples: Tensor, lengths: Tensor) -> Tensor:
        """(B, S) samples, 16 bits or from -1 to 1 → (B, bands, T) normalised features, zero behind the recordings."""
        features, frames = self.ear(samples / (1 if samples.is_floating_point() else FULL)), self.ear.frames(lengths)
        known, mean = known_steps(frames, features.shape[2])[:, None], self.mean
        if self.by_recording:
            mean = (features * known).sum(2, keepdim=True) / frames[:, None, None]
        normalised: Tensor = (features - mean) / self.deviation * known
        return normalised

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """(B, bands, T) and the lengths (B,) of the recordings in samples → (B, T', tokens), zero behind them."""
        ones = known_steps(self.ear.frames(lengths), features.shape[2])[:, None].to(features.dtype)
        features = functional.pad(torch.cat([features, ones], dim=1), (0, -features.shape[2] % self.stack))
        stacked = features.reshape(*features.shape[:2], -1, self.stack).transpose(2, 3)
        stacked = stacked.flatten(1, 2)  # (B, (bands + 1) · stack, T / stack)
        features = self.encoder(stacked, (self.ear.frames(lengths) + self.stack - 1) // self.stack)
        logits: Tensor = self.head(features.transpose(1, 2)).float()
        return logits * known_steps(self.steps(lengths), logits.shape[1])[..., None]


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
        from pipeline.data.spoken import prepare_recordings

        chosen = {name: self.settings[name] for name in ("units", "lowercase", "longest")}
        return prepare_recordings(dict(parts), split, seed, self.ear, **chosen)

    def ear(self, sample_rate: int) -> LogMel:
        return LogMel(sample_rate, *(self.settings[name] for name in ("window", "hop", "bands")))

    def examples(self, table: Table, card: Card) -> Batch:
        return {name: table[name] for name in ("samples", "lengths", "targets", "target_lengths", "reference")}

    def network(  # type: ignore[override]  # the keywords are this task's parameters in params.yaml
        self, encoders: Encoders, card: Card, *, stack: int, trim: float, speed: float, gain: float, noise: float,
        time_mask: float, band_mask: float,
    ) -> Listener:  # fmt: skip
        """`stack`: frames that are read together. In training, each recording by its own draw: `trim` is the share that
        it loses at its beginning and again at its end at most, `speed` the share by which it is faster or slower,
        `gain` the decibels by which it is louder or softer, `noise` the loudest noise beside it, `time_mask` and
        `band_mask` the largest shares of frames and bands that a mask hides."""
        augmentation = {"trim": trim, "speed": speed, "gain": gain, "noise": noise}
        augmentation |= {"time_mask": time_mask, "band_mask": band_mask}
        check_ranges(self.RANGES, stack=stack, **augmentation)
        encoder, most = encoders((self.settings["bands"] + 1) * stack), card["frames_for_a_token"]
        if stack * encoder.stride > most:
            said = f"{stack}, which with a patch of {encoder.stride} is {stack * encoder.stride} frames for a step"
            raise ValueError(f"stack: found {said}; allowed: up to {most}, or recordings of train have too few steps")
        return Listener(encoder, self, card, stack=stack, augmentation=augmentation)

    def augment(self, network: nn.Module, batch: Batch) -> Batch:
        """The features of the batch, of samples that are changed and with masks over them (Park et al. 2019)."""
        assert isinstance(network, Listener)
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
        """(B, T', tokens) logits, zero behind the recordings."""
        assert isinstance(network, Listener)
        if "features" in batch:
            return network(batch["features"], batch["lengths"])  # type: ignore[no-any-return]
        lengths, whole = batch["lengths"], torch.tensor(batch["samples"].shape[1])
        logits = network(network.hear(batch["samples"][:, : int(lengths.max())], lengths), lengths)
        return functional.pad(logits, (0, 0, 0, int(network.steps(whole)) - logits.shape[1]))

    def loss(self, network: nn.Module, output: Tensor, batch: Batch) -> Tensor:
        """Mean over the recordings of the loss of a token. A recording too short for its tokens counts nothing."""
        assert isinstance(network, Listener)
        steps, wanted = network.steps(batch["lengths"]), batch["target_lengths"]
        spoken = output.log_softmax(2).transpose(0, 1)  # (T', B, tokens)
        return functional.ctc_loss(spoken, batch["targets"], steps, wanted, BLANK, zero_infinity=True)

    def scores(self, output: Tensor, batch: Batch, card: Card) -> Tensor:
        """(B,) 1 where the whole transcript is right."""
        both = (written(output), batch["targets"])
        width = max(tokens.shape[1] for tokens in both)
        found, wanted = (functional.pad(tokens, (0, width - tokens.shape[1])) for tokens in both)
        return (found == wanted).all(1).float()

    @torch.inference_mode()
    def infer(self, network: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """(B, T') tokens that are written, with blanks behind them, and (B,) how sure the network is of a step."""
        assert isinstance(network, Listener)
        logits, steps = self.output(network, batch), network.steps(batch["lengths"])
        sure = (logits.log_softmax(2).amax(2) * known_steps(steps, logits.shape[1])).sum(1) / steps
        return written(logits), sure.exp()

    def predict(self, network: nn.Module, examples: Batch, card: Card) -> pd.DataFrame:
        """One recording at a time: sums in a batch are rounded in another order, and where two tokens are nearly as
        likely as each other, the served model would then write another one than evaluation did."""
        from pipeline.tasks.transcripts import prediction_table

        count = len(examples["lengths"])
        single = ({name: tensor[row : row + 1] for name, tensor in examples.items()} for row in range(count))
        return prediction_table([self.infer(network, one) for one in single], examples, card)

    def resampled_metrics(self, predictions: pd.DataFrame, card: Card, weights: np.ndarray) -> dict[str, np.ndarray]:
        from pipeline.tasks.transcripts import resampled_metrics

        return resampled_metrics(predictions, weights)

    def example_scores(self, predictions: pd.DataFrame) -> np.ndarray:
        """(N,) word error rates of single recordings."""
        return (predictions["word_errors"] / predictions["words"]).to_numpy(np.float64)

    def baselines(self, tables: Mapping[str, Table], card: Card, seed: int) -> dict[str, dict[str, pd.DataFrame]]:
        from pipeline.tasks.cepstra import cepstral_predictions

        return {"cepstra": cepstral_predictions(tables, card, seed, self.ear(card["sample_rate"]))}

    def guesses(self, tables: Mapping[str, Table], card: Card, seed: int) -> dict[str, dict[str, pd.DataFrame]]:
        from pipeline.tasks.transcript_guesses import transcript_guesses

        return transcript_guesses(tables, card)

    def pictures(self, predictions: pd.DataFrame, table: Table, card: Card, folder: Path, title: str) -> list[Path]:
        from pipeline.tasks.speech_pictures import errors_by_length, spectrograms

        heard = spectrograms(predictions, table, self.ear(card["sample_rate"]), folder / "transcripts.png", title)
        return [heard, errors_by_length(predictions, folder / "errors_by_length.png", title)]

    def input_example(self, table: Table, card: Card) -> pd.DataFrame:
        from pipeline.tasks.transcripts import wav_files

        return pd.DataFrame({"audio": wav_files(table, card, 3)})

    def answer(self, network: nn.Module, request: pd.DataFrame, card: Card) -> pd.DataFrame:
        from pipeline.tasks.transcripts import answer_table, heard

        examples = heard(request, card)
        return answer_table(self.predict(network, examples, card) if len(request) else None)

    def probes(self, table: Table, predictions: pd.DataFrame, card: Card) -> list[Probe]:
        from pipeline.tasks.speech_probes import speech_probes

        return speech_probes(table, predictions, card)


def written(logits: Tensor) -> Tensor:
    """(B, T, tokens) → (B, T): the likeliest tokens, one for each run of the same, without blanks between them."""
    tokens = logits.argmax(2)
    kept = (tokens != functional.pad(tokens[:, :-1], (1, 0), value=-1)) & (tokens != BLANK)
    order = (~kept).to(torch.uint8).argsort(dim=1, stable=True)
    return (tokens * kept).gather(1, order)


def without_ends(samples: Tensor, lengths: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
    """(B, S) and lengths (B,) without shares (2, B) of each recording: of its beginning, and of its end."""
    starts, ends = (shares * lengths).long()
    rest = lengths - starts - ends
    places = torch.arange(int(rest.max()), device=samples.device) + starts[:, None]
    kept = samples.gather(1, places.clamp_max(samples.shape[1] - 1))
    return kept * known_steps(rest, kept.shape[1]), rest


def at_speed(samples: Tensor, lengths: Tensor, factors: Tensor) -> tuple[Tensor, Tensor]:
    """(B, S) and lengths (B,), played `factors` (B,) times as fast, also higher or lower by that (Ko et al. 2015)."""
    ends = (lengths / factors).long().clamp_min(1)
    places = torch.arange(int(ends.max()), device=samples.device) * factors[:, None]
    before = torch.minimum(places.long(), (lengths - 1)[:, None])
    after = torch.minimum(before + 1, (lengths - 1)[:, None])
    played = torch.lerp(samples.gather(1, before), samples.gather(1, after), places - places.floor())
    return played * known_steps(ends, played.shape[1]), ends


def unmasked(sizes: Tensor, width: int, share: float) -> Tensor:
    """(B, width) bool, False in a stretch of each row whose length is drawn up to a share of its size (B,)."""
    drawn: Tensor = torch.rand(2, len(sizes), 1, device=sizes.device)
    length = drawn[0] * share * sizes[:, None]
    start = drawn[1] * (sizes[:, None] - length)
    place = torch.arange(width, device=sizes.device) + 0.5 - start
    return (place < 0) | (place >= length)
