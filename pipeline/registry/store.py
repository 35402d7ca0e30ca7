"""One registered model of MLflow: its versions by content key, its aliases, and the files of a version."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from pipeline.tracking.address import Address
from pipeline.tracking.client import as_default
from pipeline.tracking.specification import KEY

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

RESTORING = "pipeline.restoring"  # on versions that are made anew after MLflow has lost them, until all are there


@dataclass(frozen=True)
class Version:
    """A version of the registered model. Versions that somebody else has made have a key of their own."""

    number: str
    key: str
    candidate: str
    tags: Mapping[str, str] = field(default_factory=dict)

    def named(self) -> dict[str, str]:
        return {"version": self.number, "key": self.key, "candidate": self.candidate}

    def __str__(self) -> str:
        return f"version {self.number} ({self.candidate})"


class Store:
    """The registered model `name` and the MLflow experiment of the same name."""

    def __init__(self, client: MlflowClient, address: Address, name: str, experiment_id: str, description: str) -> None:
        self.client, self.address, self.name, self.experiment_id = client, address, name, experiment_id
        self.description = description
        self.versions: dict[str, Version] = {}
        self.aliases: dict[str, str] = {}  # alias → number
        self.refresh()

    def refresh(self) -> None:
        """Reads versions and aliases anew. Of versions with the same key the oldest counts."""
        found = self.client.search_registered_models(f"name = '{self.name}'")
        self.exists = bool(found)
        self.aliases = {alias: str(number) for alias, number in found[0].aliases.items()} if found else {}
        listed = self.client.search_model_versions(f"name = '{self.name}'") if found else []
        versions = [_version(str(entry.version), entry.tags) for entry in listed]
        self.versions = {}
        for version in sorted(versions, key=lambda version: int(version.number)):
            self.versions.setdefault(version.key, version)

    def at(self, alias: str) -> Version | None:
        """The version that an alias points to."""
        number = self.aliases.get(alias)
        return next((version for version in self.versions.values() if version.number == number), None)

    def point(self, alias: str, version: Version) -> bool:
        """Moves an alias; answers whether it pointed elsewhere."""
        if self.aliases.get(alias) == version.number:
            return False
        self.client.set_registered_model_alias(self.name, alias, version.number)
        self.aliases[alias] = version.number
        return True

    def tag(self, version: Version, tags: Mapping[str, str]) -> Version:
        """Sets tags of a version that differ."""
        for name, value in tags.items():
            if version.tags.get(name) != value:
                self.client.set_model_version_tag(self.name, version.number, name, value)
        changed = _version(version.number, {**version.tags, **tags})
        self.versions[changed.key] = changed
        return changed

    def untag(self, version: Version, tag: str) -> None:
        self.client.delete_model_version_tag(self.name, version.number, tag)
        self.versions[version.key] = _version(version.number, {k: v for k, v in version.tags.items() if k != tag})

    def describe(self, version: Version, text: str) -> None:
        self.client.update_model_version(self.name, version.number, text)

    def add(self, folder: Path, tags: Mapping[str, str], run_id: str | None) -> Version:
        """Uploads a servable folder as a logged model of the run and makes it a version."""
        parameters = self.client.get_run(run_id).data.params if run_id is not None else {}
        name = tags["pipeline.candidate"]
        model = self.client.create_logged_model(self.experiment_id, name, run_id, dict(tags), parameters)
        edit_description(folder, lambda content: _of_model(content, model.model_id, run_id))
        self.client.log_model_artifacts(model.model_id, str(folder))
        self.client.finalize_logged_model(model.model_id, "READY")
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
        version = _version(str(created.version), tags)
        self.versions[version.key] = version
        return version

    def download(self, version: Version, path: str, target: Path) -> Path:
        """A file or folder of a version, copied into `target`."""
        from mlflow.artifacts import download_artifacts

        uri, place = f"models:/{self.name}/{version.number}/{path}".rstrip("/"), self.address.uri
        target.mkdir(parents=True, exist_ok=True)
        with as_default(self.address):
            return Path(download_artifacts(uri, dst_path=str(target), tracking_uri=place, registry_uri=place))

    def stray_folder(self, key: str, target: Path) -> Path | None:
        """A copy of the files of a version that MLflow has forgotten but whose artifacts are still here."""
        place = self.address.artifacts or ""
        if not place.startswith("file:"):
            return None
        folder = Path(unquote(urlsplit(place).path), self.name, "models")
        for description in sorted(folder.glob("*/artifacts/MLmodel")):
            if key in description.read_text(encoding="utf-8"):
                return Path(shutil.copytree(description.parent, target))
        return None

    def _link_figures(self, run_id: str, model_id: str) -> None:
        """Shows the run's test and validation figures beside the model. The same time stamps: nothing is doubled."""
        from mlflow.entities import LoggedModelOutput, Metric

        self.client.log_outputs(run_id, [LoggedModelOutput(model_id, step=0)])
        run = self.client.get_run(run_id)
        names = [
            name for name in run.data.metrics if name.startswith(("test_", "validation_")) and "/seed_" not in name
        ]
        points = [self.client.get_metric_history(run_id, name)[-1] for name in names]
        data = run.inputs.dataset_inputs[0].dataset if run.inputs and run.inputs.dataset_inputs else None
        origin = {} if data is None else {"dataset_name": data.name, "dataset_digest": data.digest}
        linked = [Metric(p.key, p.value, p.timestamp, p.step, model_id=model_id, **origin) for p in points]
        self.client.log_batch(run_id, metrics=linked[:1000])


def edit_description(folder: Path, change: Callable[[Any], Any]) -> None:
    """Changes the MLmodel file of a folder: `change` gets it as a dictionary and returns the new one."""
    from ruamel.yaml import YAML

    yaml = YAML()
    file = folder / "MLmodel"
    description = change(yaml.load(file.read_text(encoding="utf-8")))
    with file.open("w", encoding="utf-8") as stream:
        yaml.dump(description, stream)


def _version(number: str, tags: Mapping[str, str]) -> Version:
    key = tags.get(KEY, f"version {number} of another origin")
    return Version(number, key, tags.get("pipeline.candidate", "of another origin"), dict(tags))


def _of_model(content: Any, model_id: str, run_id: str | None) -> Any:
    content["model_id"] = content["model_uuid"] = model_id
    content["run_id"] = run_id
    return content
