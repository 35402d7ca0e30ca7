"""Credentials in addresses and in the environment: recognised, and taken out of whatever is written or printed."""

from __future__ import annotations

import netrc
import os
import re
from collections.abc import Iterator
from urllib.parse import unquote

HIDDEN = "***"
SHORTEST = 6  # characters of a value that is looked for; shorter ones would be found everywhere
# What a credential is called in the query of an address: token, X-Amz-Signature, AWSAccessKeyId, sig, api_key, …
NAME = re.compile(
    r"pass(?:w|phrase|$|[-_.](?!through))|pwd|token(?!iz|s$|s?[-_.]?(?:limit|count))|secret|signature(?![-_.]?version)|"
    r"credential|jwt|bearer|authorization|(?:api|access|auth)[-_]?key|key[-_]pair|session[-_]?id|private[-_]?link|hmac|"
    r"(?:^|[-_.])(?:sig|key|auth|sas|pw)(?:$|[-_.])",
    re.IGNORECASE,
)
VARIABLE = re.compile(r"PASSWORD|PASSWD|TOKEN(?!IZ|S?$(?<=S)|S?_(?:LIMIT|COUNT))|SECRET|CREDENTIAL|API_?KEY|ACCESS_KEY")
WORD = re.compile(r"[0-9.,-]+|[a-z]{1,11}")  # a value that occurs in many texts that have nothing to do with it
# Values that are recognised by their form: of GitHub, GitLab, Hugging Face, Slack, npm, PyPI, Amazon, and any JWT.
FORM = re.compile(
    r"\b(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{30,}|glpat-[\w-]{20,}|hf_[A-Za-z]{30,}|xox[abprs]-[\w-]{16,}|"
    r"npm_[A-Za-z0-9]{36}|pypi-AgE[\w-]{16,}|dckr_pat_[\w-]{20,}|A[KS]IA[0-9A-Z]{16}\b|"
    r"sk-(?=[\w-]*[0-9])(?=[\w-]*[A-Z])[\w-]{20,}|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*)"
)
USER = re.compile(r"(://)(?:[^/?#@\s'\"]+|[^/?#@\s'\":]*:(?!\d+[/?#])[^@\s'\"]+)@")  # some forget to write / as %2F
QUERY = re.compile(r"([?&#;])([\w.~%-]+)=([^&\s\"'#;]+)")
ADDRESS = re.compile(r"([A-Za-z][\w+.-]*)://([^/?#\s'\"]*)([^\s'\"]*)")


def credential_in(address: str) -> str | None:
    """Names what in an address looks like a credential, without its value; None where nothing does."""
    match = ADDRESS.search(address)
    if not match:
        return None
    scheme, place, rest = match.groups()
    user, sign, _ = place.rpartition("@")
    _, colon, password = user.partition(":")
    host = re.sub(r"^\[[^\]]*\]", "", place)  # colons of IPv6 are in brackets
    if password or (not sign and "@" in rest and re.search(r":(?!\d*$)", host)):
        return "a password"
    if sign and (colon or scheme.lower() in ("http", "https", "file", "package")):
        return "a user, or a token in its place"  # the address of a database or storage may name its user or container
    for _, key, value in QUERY.findall(address):
        if NAME.search(unquote(key)) and value.strip("*") and not value.isdigit():
            return f"a credential in its part {unquote(key)[:40]}=…"
    return "a token" if FORM.search(unquote(address)) else None


def scrubbed(text: object) -> str:
    """Returns a text without users and passwords of addresses, and without all that is or looks like a credential."""
    cleaned = USER.sub(r"\1", str(text))
    cleaned = QUERY.sub(lambda m: f"{m[1]}{m[2]}={HIDDEN if NAME.search(unquote(m[2])) else m[3]}", cleaned)
    cleaned = FORM.sub(HIDDEN, cleaned)
    for secret in sorted(known(), key=len, reverse=True):
        cleaned = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", HIDDEN, cleaned)
    return cleaned


def known(*texts: str) -> set[str]:
    """Collects the values of credentials: in the environment, in ~/.netrc, and in addresses in it and in `texts`.

    A number or a short word is not one of them, though somebody may use one: it occurs in many texts by chance.
    """
    secrets = {value for name, value in os.environ.items() if VARIABLE.search(name) and not value.startswith("/")}
    for name, value in os.environ.items():
        if name.startswith("PIPELINE_QUERY_"):  # as the end of an address
            secrets |= {value, *_values(f"x://x?{value.lstrip('?&')}")}
    for text in (*texts, *(value for value in os.environ.values() if "://" in value)):
        secrets |= set(_values(text))
    secrets |= set(_of_netrc())
    return {secret for secret in secrets if len(secret) >= SHORTEST and secret != HIDDEN and not WORD.fullmatch(secret)}


def _values(text: str) -> Iterator[str]:
    """Yields the credentials in the addresses of a text, as they are written and as they are meant."""
    for scheme, place, rest in ADDRESS.findall(text):
        user, sign, _ = place.rpartition("@")
        name, _, password = user.partition(":")
        values = [password] if password else [name] if sign and scheme.lower() in ("http", "https") else []
        values += [value for _, key, value in QUERY.findall(rest) if NAME.search(unquote(key))]
        for value in values:
            yield from (value, unquote(value))


def _of_netrc() -> Iterator[str]:
    try:
        entries = netrc.netrc(os.environ.get("NETRC") or None).hosts.values()
    except (OSError, netrc.NetrcParseError, UnicodeDecodeError, RuntimeError):  # the last one without a home
        return
    yield from (str(password) for _, _, password in entries if password)
