"""One registered model of MLflow: its versions by content key, its aliases, and the files of a version."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from pipeline.serving.description import edit_description
from pipeline.serving.rehearse import RehearsalFailed
from pipeline.tracking.address import Address
from pipeline.tracking.client import as_default
from pipeline.tracking.specification import KEY

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel
    from mlflow.tracking import MlflowClient

RESTORING = "pipeline.restoring"  # on versions that are made anew after MLflow has lost them, until all are there


@dataclass(frozen=True)
class Version:
    """A version of the registered model. Versions that somebody else has made have a key of their own."""

    number: str
    key: str
    candidate: str
    tags: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None  # the files of one that MLflow no longer lists

    @property
    def ours(self) -> bool:
        """Whether a pipeline like this one has made it."""
        return KEY in self.tags

    def named(self) -> dict[str, str]:
        return {"version": self.number, "key": self.key, "candidate": self.candidate}

    def __str__(self) -> str:
        return f"version {self.number} ({self.candidate})"


class Store:
    """The registered model `name` and the MLflow experiment of the same name.

    `fence` raises where this process must not write any more, because another one registers in its place.
    """

    fence: Callable[[], None] | None = None

    def __init__(self, client: MlflowClient, address: Address, name: str, experiment_id: str, description: str) -> None:
        self.client, self.address, self.name, self.experiment_id = client, address, name, experiment_id
        self.description = description
        self.versions: dict[str, Version] = {}
        self.numbers: dict[str, Version] = {}
        self.aliases: dict[str, str] = {}  # alias → number
        self.tags: dict[str, str] = {}  # of the registered model
        self.refresh()

    def refresh(self) -> None:
        """Reads versions and aliases anew. Of versions with the same key the oldest counts."""
        models = self.client.search_registered_models(f"name = '{self.name}'")
        self.exists = bool(models)
        self.tags = dict(models[0].tags) if models else {}
        self.aliases = {alias: str(number) for alias, number in models[0].aliases.items()} if models else {}
        listed = self.client.search_model_versions(f"name = '{self.name}'") if models else []
        versions = [_version(str(entry.version), entry.tags) for entry in listed]
        self.versions, self.numbers = {}, {}
        for version in sorted(versions, key=lambda version: int(version.number)):
            self.versions.setdefault(version.key, version)
            self.numbers[version.number] = version

    def at(self, alias: str) -> Version | None:
        """The version that an alias points to."""
        number = self.aliases.get(alias)
        return None if number is None else self.numbers.get(number)

    def hold(self) -> None:
        """Asks before what cannot be taken back: a version, a line of the history, an alias."""
        if self.fence is not None:
            self.fence()

    def set_tag(self, name: str, value: str) -> None:
        """A tag of the registered model."""
        self.client.set_registered_model_tag(self.name, name, value)
        self.tags[name] = value

    def remove_tag(self, name: str) -> None:
        self.client.delete_registered_model_tag(self.name, name)
        del self.tags[name]

    def point(self, alias: str, version: Version) -> bool:
        """Moves an alias; answers whether it pointed elsewhere."""
        if self.aliases.get(alias) == version.number:
            return False
        self.hold()
        self.client.set_registered_model_alias(self.name, alias, version.number)
        self.aliases[alias] = version.number
        return True

    def tag(self, version: Version, tags: Mapping[str, str]) -> Version:
        """Sets tags of a version that differ."""
        for name, value in tags.items():
            if version.tags.get(name) != value:
                self.client.set_model_version_tag(self.name, version.number, name, value)
        return self._keep(_version(version.number, {**version.tags, **tags}))

    def untag(self, version: Version, tag: str) -> None:
        self.client.delete_model_version_tag(self.name, version.number, tag)
        self._keep(_version(version.number, {k: v for k, v in version.tags.items() if k != tag}))

    def _keep(self, version: Version) -> Version:
        self.numbers[version.number] = version
        if self.versions.setdefault(version.key, version).number == version.number:
            self.versions[version.key] = version
        return version

    def describe(self, version: Version, text: str) -> None:
        self.client.update_model_version(self.name, version.number, text)

    def add(self, folder: Path, tags: Mapping[str, str], run_id: str | None) -> Version:
        """Uploads a servable folder as a logged model of the run and makes it a version.

        A process that was killed at this has left a logged model without a version: it is filled again, not doubled.
        """
        parameters = self.client.get_run(run_id).data.params if run_id is not None else {}
        name = tags["pipeline.candidate"]
        model = self._logged(tags[KEY]) or self.client.create_logged_model(
            self.experiment_id, name, run_id, dict(tags), parameters
        )
        edit_description(folder, lambda content: _of_model(content, model.model_id, run_id))
        self.client.log_model_artifacts(model.model_id, str(folder))
        self.client.finalize_logged_model(model.model_id, "READY")
        self.hold()
        if run_id is not None:
            self._link_figures(run_id, model.model_id)
        if not self.exists:
            self.client.create_registered_model(self.name, description=self.description)
            self.exists = True
        source = f"models:/{model.model_id}"
        with as_default(self.address):
            created = self.client.create_model_version(
                self.name, source, run_id, dict(tags), model_id=model.model_id, await_creation_for=0
            )
        return self._keep(_version(str(created.version), tags))

    def download(self, version: Version, path: str, target: Path) -> Path:
        """A file or folder of a version, copied into `target`. Raises TrialFailed where it is gone."""
        if version.folder is not None:
            return version.folder / path
        uri = f"models:/{self.name}/{version.number}/{path}".rstrip("/")
        return self._fetched(uri, target, f"the files of {version}")

    def stray_version(self, key: str, number: str, target: Path) -> Version | None:
        """A version that MLflow no longer lists, as far as its files are still there."""
        folder = self.stray_folder(key, target)
        if folder is None:
            return None
        from ruamel.yaml import YAML

        noted = YAML(typ="safe").load((folder / "MLmodel").read_text(encoding="utf-8")).get("metadata") or {}
        return Version(number, key, noted.get("pipeline.candidate", ""), noted, folder)

    def stray_folder(self, key: str, target: Path) -> Path | None:
        """A copy of the files of a version that MLflow has forgotten, from its logged model or from this disk."""
        model = self._logged(key)
        if model is not None and model.status == "READY":
            with suppress(RehearsalFailed):
                return self._fetched(f"models:/{model.model_id}", target, "its files")
        place = self.address.artifacts or ""
        if not place.startswith("file:"):
            return None
        folder = Path(unquote(urlsplit(place).path), self.name, "models")
        for description in sorted(folder.glob("*/artifacts/MLmodel")):
            if f"{KEY}: {key}\n" in description.read_text(encoding="utf-8"):
                return Path(shutil.copytree(description.parent, target, dirs_exist_ok=True))
        return None

    def _fetched(self, uri: str, target: Path, what: str) -> Path:
        """Raises TrialFailed where MLflow is there and the files are not."""
        from mlflow.artifacts import download_artifacts

        target.mkdir(parents=True, exist_ok=True)
        place = self.address.uri
        try:
            with as_default(self.address):
                folder = Path(download_artifacts(uri, dst_path=str(target), tracking_uri=place, registry_uri=place))
            if folder.is_dir() and not any(folder.iterdir()):  # that is how MLflow answers where a folder is gone
                raise FileNotFoundError("nothing is left of them")
            return folder
        except Exception as error:
            self.client.search_experiments(max_results=1)  # raises where it is the server that is gone
            raise RehearsalFailed(f"{what} are gone: {self.address.scrub(error)}") from error

    def _logged(self, key: str) -> LoggedModel | None:
        """The oldest logged model of a content key."""
        if not self.experiment_id:
            return None
        models = self.client.search_logged_models([self.experiment_id], f"tags.`{KEY}` = '{key}'")
        return min(models, key=lambda model: model.creation_timestamp, default=None)

    def _link_figures(self, run_id: str, model_id: str) -> None:
        """Shows the run's test and validation figures beside the model. The same time stamps: nothing is doubled."""
        from mlflow.entities import LoggedModelOutput, Metric

        run = self.client.get_run(run_id)
        known = run.outputs.model_outputs if run.outputs else []
        if model_id not in {output.model_id for output in known}:  # twice is an error of the database
            self.client.log_outputs(run_id, [LoggedModelOutput(model_id, step=0)])
        names = [
            name for name in run.data.metrics if name.startswith(("test_", "validation_")) and "/seed_" not in name
        ]
        points = [self.client.get_metric_history(run_id, name)[-1] for name in names]
        data = run.inputs.dataset_inputs[0].dataset if run.inputs and run.inputs.dataset_inputs else None
        origin = {} if data is None else {"dataset_name": data.name, "dataset_digest": data.digest}
        linked = [Metric(p.key, p.value, p.timestamp, p.step, model_id=model_id, **origin) for p in points]
        self.client.log_batch(run_id, metrics=linked[:1000])


def store_with_versions(client: MlflowClient, address: Address, name: str) -> Store:
    """The registered model `name`; creates nothing. Raises ValueError where nothing is registered."""
    experiment = client.get_experiment_by_name(name)
    store = Store(client, address, name, "" if experiment is None else str(experiment.experiment_id), "")
    if not store.numbers:
        raise ValueError(f"{name}: MLflow at {address.shown} has no version of it; `dvc repro` makes one")
    return store


def _version(number: str, tags: Mapping[str, str]) -> Version:
    key = tags.get(KEY, f"version {number} of another origin")
    return Version(number, key, tags.get("pipeline.candidate", "of another origin"), dict(tags))


def _of_model(content: Any, model_id: str, run_id: str | None) -> Any:
    content["model_id"] = content["model_uuid"] = model_id
    content["run_id"] = run_id
    return content
