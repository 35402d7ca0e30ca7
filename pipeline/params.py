"""params.yaml as frozen, typed objects. Types, ranges and messages are here; the values are in the file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    PlainValidator,
    StringConstraints,
    Tag,
    model_validator,
)

from pipeline.problems import nearest as nearest
from pipeline.problems import place_of, problems

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
FileName = Annotated[str, StringConstraints(pattern=r"^[^./\\][^/\\]*$")]
FilePath = Annotated[str, StringConstraints(pattern=r"^[^./\\][^/\\]*(/[^./\\][^/\\]*)*$")]  # folders with slashes
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Share = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[int, Field(ge=1)]
Scalar = bool | int | float | str
Precision = Literal["auto", "32-true", "16-mixed", "bf16-mixed", "16-true", "bf16-true", "64-true",
                    "transformer-engine", "transformer-engine-float16"]  # fmt: skip


def _checked_devices(devices: Any) -> int | str | list[int]:
    """Checks how many devices, all (-1 or auto), or which ones by their numbers."""
    whole = type(devices) is int and (devices >= 1 or devices == -1)
    numbers = isinstance(devices, list) and devices and all(type(number) is int and number >= 0 for number in devices)
    if whole or devices == "auto" or (numbers and len(set(devices)) == len(devices)):
        return devices  # type: ignore[no-any-return]
    raise ValueError(f"found {devices!r}; allowed: a number from 1, auto or -1 for all, or a list such as [0, 1]")


Devices = Annotated[Any, PlainValidator(_checked_devices)]


class ParamsError(ValueError):
    """A user's mistake: shown as it is, without a traceback, with exit code 2."""


class Section(BaseModel):
    """A part of params.yaml: frozen, and without room for keys that nobody reads."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Trainer(Section):
    """Arguments of `pytorch_lightning.Trainer`; `options` are further ones."""

    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps", "tpu"]
    devices: Devices
    num_nodes: Positive
    strategy: str
    precision: Precision
    options: dict[str, Any]

    @property
    def distributed(self) -> bool:
        """Whether one fit spans several devices, so that fits cannot run side by side."""
        return self.devices != 1 or self.num_nodes > 1 or self.strategy != "auto"


class Tracking(Section):
    uri: str | None
    artifacts: str | None


class Evaluation(Section):
    resamples: Annotated[int, Field(ge=100)]
    confidence: Share


class Study(Section):
    """The search of several machines together."""

    storage: str | None  # an Optuna RDB address; PIPELINE_STUDY_STORAGE wins over it


class Limits(Section):
    """Limits that no challenger may break, however good its score is; null for no limit."""

    latency_ms: Annotated[float, Field(gt=0)] | None  # of one example
    megabytes: Annotated[float, Field(gt=0)] | None  # of the weights
    worst_class: Share | None  # lowest share of right answers in any class


class Gate(Section):
    resamples: Annotated[int, Field(ge=100)]
    confidence: Share
    margin: Annotated[float, Field(ge=0)]
    limits: Limits


class Download(Section):
    url: Annotated[str, StringConstraints(pattern=r"^(https?|file|package)://.+")]
    sha256: Digest | None = None  # of the file
    unpack: bool | None = None  # whether an archive is unpacked next to it; absent means no
    folder: FileName | None = None  # of the archive, wherever it is in it, to take alone; absent means all
    only: list[str] | None = None  # patterns such as "*.wav" of the names of that folder's files; absent means all
    contents: Digest | None = None  # of that folder's files, for an archive that is packed again for every request

    @model_validator(mode="after")
    def _one_checksum(self) -> Download:
        if self.sha256 is None and self.contents is None:
            raise ValueError("sha256: missing; add it, or `contents` for an archive that is packed anew each time")
        if self.sha256 and self.contents:
            raise ValueError("contents: found beside sha256; keep one of the two checksums")
        if self.folder and not self.unpack:
            raise ValueError(f"folder: found {self.folder!r}; allowed: with `unpack: true` only")
        if self.only is not None and not (self.only and self.folder):
            raise ValueError(f"only: found {self.only!r}; allowed: patterns such as '*.wav', with `folder` only")
        if self.contents and not self.folder:
            raise ValueError("contents: is the checksum of a folder of an archive; name it, such as `folder: images`")
        return self


class Data(Section):
    path: str
    format: str
    options: dict[str, Any]
    parts: dict[Literal["all", "train", "validation", "test"], dict[str, Any]]

    @model_validator(mode="after")
    def _parts_are_all_or_published(self) -> Data:
        if "all" in self.parts and len(self.parts) > 1:
            raise ValueError(
                f"parts: found {', '.join(self.parts)}; allowed: `all` alone, or train, validation and test"
            )
        if "all" not in self.parts and "train" not in self.parts:
            raise ValueError(
                f"parts: found {', '.join(self.parts) or 'none'}; allowed: `all`, or `train` and what else is published"
            )
        return self


class Split(Section):
    validation: Share | None
    test: Share | None


class Pruning(Section):
    after_epochs: Positive
    quantile: Share


class Training(Section):
    """The budget of every candidate of an experiment: the same for all, or the comparison would not be fair."""

    batch_size: Positive
    trials: Positive
    generation: Positive
    trial_epochs: Positive
    pruning: Pruning | None
    epochs: Positive
    patience: Positive
    repeats: Positive


class Experiment(Section):
    description: str
    task: str
    data: Data
    split: Split
    settings: dict[str, Any]
    training: Training
    candidates: Annotated[list[str], Field(min_length=1)]
    gate: Gate | None = None  # where this experiment needs another gate than all the others

    @model_validator(mode="after")
    def _split_fits_the_parts(self) -> Experiment:
        parts, split = self.data.parts, self.split
        for part, share in (("validation", split.validation), ("test", split.test)):
            if part in parts and share is not None:
                raise ValueError(
                    f"split.{part}: found {share}, but this part is published and is never split again; use null"
                )
            if part not in parts and share is None:
                raise ValueError(
                    f"split.{part}: found null, but data.parts has no part `{part}`; give a share, such as 0.2"
                )
        if "all" in parts and (split.validation or 0) + (split.test or 0) >= 1:
            raise ValueError(
                f"split: found shares of {split.validation} and {split.test}, which leave nothing to train on"
            )
        return self


class Choices(Section):
    choices: Annotated[list[Scalar], Field(min_length=1)]


class Range(Section):
    low: int | float
    high: int | float
    log: bool | None = None

    @model_validator(mode="after")
    def _low_is_below_high(self) -> Range:
        if self.low >= self.high:
            raise ValueError(f"low must be below high; found {self.low} and {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"a logarithmic range starts above 0; found {self.low}")
        return self


def _kind_of_space(entry: Any) -> str:
    if not isinstance(entry, dict | Section):
        return "<value>"
    return (
        "<range>"
        if {"low", "high"} & set(entry if isinstance(entry, dict) else type(entry).model_fields)
        else "<choices>"
    )


Space = Annotated[
    Annotated[Choices, Tag("<choices>")] | Annotated[Range, Tag("<range>")] | Annotated[Scalar, Tag("<value>")],
    Discriminator(_kind_of_space),
]


class Weights(Section):
    """A file of published weights from which training starts, instead of from random ones."""

    file: str
    sha256: Digest


class Candidate(Section):
    experiment: str
    task: str
    family: str
    parameters: dict[str, Space]
    weights: Weights | None = None  # for an architecture that is a published trunk


class Params(Section):
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    threads: Positive
    workers: Positive
    checkpoint_steps: Positive
    trainer: Trainer
    launcher: Annotated[str, StringConstraints(min_length=1)] | None
    tracking: Tracking
    study: Study
    evaluation: Evaluation
    gate: Gate
    downloads: dict[Name, Annotated[dict[FilePath, Download], Field(min_length=1)]]
    experiments: Annotated[dict[Name, Experiment], Field(min_length=1)]
    candidates: Annotated[dict[Name, Candidate], Field(min_length=1)]

    def gate_of(self, experiment: str) -> Gate:
        """Returns the experiment's own gate, or the one of all experiments."""
        return self.experiments[experiment].gate or self.gate


def read_raw(path: str | Path = "params.yaml") -> dict[str, Any]:
    """Reads the file as plain dictionaries. Raises ParamsError if it is missing or is not YAML."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        document = YAML(typ="safe", pure=True).load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ParamsError(f"{path} is missing here; run the command in the root of the repository") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise ParamsError(f"{path} is not valid YAML: {place_of(error)}") from None
    if not isinstance(document, dict):
        raise ParamsError(
            f"{path}: found {type(document).__name__}; expected a mapping with the keys "
            + ", ".join(Params.model_fields)
        )
    return document


def load(path: str | Path = "params.yaml") -> Params:
    """Reads and checks the file. Raises ParamsError with all problems at once."""
    raw = read_raw(path)
    faults = problems(raw, Params)
    if faults:
        raise ParamsError(report(path, faults))
    return Params.model_validate(raw)


def report(path: str | Path, faults: list[str]) -> str:
    """Returns one message for all problems of a file."""
    return f"{path} has {len(faults)} problem{'s' if len(faults) > 1 else ''}:\n" + "\n".join(
        f"  {line}" for line in faults
    )
