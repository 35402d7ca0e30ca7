"""Credentials: what looks like one in an address of params.yaml is refused, and none reaches MLflow or a message."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from pipeline.credentials import credential_in, known, scrubbed
from pipeline.params import Params, ParamsError, load
from pipeline.problems import problems

SECRET = "SeKrEtToKeN0123456789"
BAD = [
    f"https://me:{SECRET}@host/a.csv", f"https://{SECRET}@host/a.csv", f"https://{SECRET}:@host/a.csv",
    *(f"https://host/a.csv?{name}={SECRET}" for name in (
        "token", "sig", "x=1&sig", "access_token", "private_token", "X-Amz-Signature", "X-Amz-Security-Token", "auth",
        "X-Amz-Credential", "AWSAccessKeyId", "Signature", "Key-Pair-Id", "api_key", "apikey", "key", "password", "jwt",
        "client_secret", "%74oken", "TOKEN")),
    f"https://host/a.csv#token={SECRET}", f"https://host/a.csv?x=1;sig={SECRET}", f"file://me:{SECRET}@host/a",
    f"package://{SECRET}@sklearn/a.csv", f"postgresql://me:{SECRET}@host/runs", f"mysql://me:a/{SECRET}@host/runs",
    f"postgresql://host/runs?password={SECRET}", f"postgresql://host/runs?sslpassword={SECRET}",
    f"s3://key:{SECRET}@bucket/x", "https://host/ghp_0123456789abcdefABCDEF0123456789/a.csv", "s3://AKIAIOSFODNN7EXAMPLE/x",
    "https://host/a?x=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abcdefghij",
]  # fmt: skip
GOOD = [
    "https://host/a.csv", "https://host:8080/a.csv?version=2&commit=8f14e45fceea167a5a36dedd4bea2543", "data/a.csv",
    "https://host/@scope/a.csv", "https://host:80/@me", "https://host/a.csv?author=ann&keyword=b&design=c&passage=1",
    "https://host/a?tokenizer=bpe&monkey=1", "file:///home/me/a@b.csv", "package://sklearn/datasets/data/a.csv",
    "postgresql://me@host/runs", "sqlite:////home/me/mlflow.db", "s3://bucket/x", "wasbs://container@account/x",
    "postgresql://host/runs?sslkey=/etc/client.pem&options=-csearch_path%3Dsearches", "https://host/a?token=***",
]  # fmt: skip


@pytest.mark.parametrize("address", BAD)
def test_what_looks_like_a_credential_is_found_and_taken_out(address: str) -> None:
    found = credential_in(address)
    assert found and SECRET not in found
    assert SECRET not in scrubbed(f"before {address!r}, after") and credential_in(scrubbed(address)) is None


@pytest.mark.parametrize("address", GOOD)
def test_plain_addresses_are_left_alone(address: str) -> None:
    assert credential_in(address) is None
    assert scrubbed(address) == address or "@" in address, "messages leave out the user of a database, too"


@pytest.mark.parametrize("address", BAD[:4] + BAD[-8:-2])
def test_an_address_of_params_yaml_with_a_credential_is_refused_in_one_clear_message(
    address: str, tiny: dict[str, Any], save: Any, tmp_path: Path
) -> None:
    tiny["downloads"]["digits"]["digits.csv.gz"]["url"] = address
    tiny["tracking"] = {"uri": address, "artifacts": address}
    tiny["study"] = {"storage": address}
    with pytest.raises(ParamsError) as caught:
        load(save(tiny, tmp_path))
    message = str(caught.value)
    for path, instead in (("downloads.digits.digits.csv.gz.url", "~/.netrc, PIPELINE_TOKEN_<HOST>"),
                          ("tracking.uri", "MLFLOW_TRACKING_PASSWORD"), ("tracking.artifacts", "AWS_SECRET_ACCESS_KEY"),
                          ("study.storage", "PIPELINE_STUDY_STORAGE")):  # fmt: skip
        assert len(re.findall(rf"^  {re.escape(path)}: found .*{re.escape(instead)}", message, re.M)) == 1, message
    assert SECRET not in message and "ghp_" not in message


def test_no_other_problem_of_an_address_shows_its_secret(tiny: dict[str, Any], tmp_path: Path) -> None:
    for value in (
        f"ftp://me:{SECRET}@host/a",
        [f"https://host/?sig={SECRET}"],
        {"x": f"https://{SECRET}@host/" + "a" * 90},
    ):
        tiny["downloads"]["digits"]["digits.csv.gz"]["url"] = value
        tiny["trainer"]["devices"] = value
        assert problems(tiny, Params) and SECRET not in "\n".join(problems(tiny, Params))
    (tmp_path / "params.yaml").write_text(f"seed: 0\nurl: {{a: https://me:{SECRET}@host\n  b: ]\n")
    with pytest.raises(ParamsError, match=r"is not valid YAML: line [0-9]+, column [0-9]+: ") as caught:
        load(tmp_path / "params.yaml")
    assert SECRET not in str(caught.value)


def test_secrets_of_the_environment_are_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text("machine host login ann password netrc-secret\n")
    for name, value in {
        "NETRC": str(tmp_path / "netrc"), "MY_API_TOKEN": "token-value",
        "PIPELINE_QUERY_HOST": "sv=2020&sig=a%2Bsignature", "MLFLOW_TRACKING_URI": "http://user-as-token@host",
        "PIPELINE_STUDY_STORAGE": "postgresql://me:pass%2Fword@host/db",
        "TOKENIZERS_PARALLELISM": "falsehood", "SHORT_TOKEN": "abc", "SECRET_FILE": "/run/secret",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    found = known(f"storage: mysql://me:{SECRET}@host/db")
    assert found >= {"netrc-secret", "token-value", "a%2Bsignature", "a+signature", "user-as-token", "pass%2Fword",
                     "pass/word", SECRET}  # fmt: skip
    assert not found & {"falsehood", "abc", "/run/secret", "me", "host"}
    assert scrubbed("with netrc-secret, token-value and a+signature") == "with ***, *** and ***"


def test_parameters_that_go_to_mlflow_are_scrubbed(monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.tracking.specification import parameter_texts

    monkeypatch.setenv("MY_SECRET", "value-of-it")
    given = {"a": f"https://host/?sig={SECRET}", "b": ["value-of-it"], "c": {"d": f"https://{SECRET}@host/x"}, "e": 1}
    assert parameter_texts(given) == {"a": "https://host/?sig=***", "b": '["***"]', "c/d": "https://host/x", "e": "1"}
