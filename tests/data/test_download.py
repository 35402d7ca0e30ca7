import base64
import errno
import hashlib
import io
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pipeline.download import transfer
from pipeline.download.download import fetch_file, local_source, mirrored_file

CONTENT = bytes(range(256)) * 4000  # 1,024,000 bytes
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves CONTENT at every path; a test sets how badly."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.ranges = True  # whether a Range header is honoured
        self.cuts: list[int] = []  # after how many bytes the next answers break off
        self.codes: list[int] = []  # what the next answers say instead
        self.pause = 0.0  # seconds before every 64 KiB
        self.seen: list[dict[str, str]] = []  # headers of all requests, with the path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/file.bin"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        server.seen.append({"path": self.path, **self.headers})
        code = server.codes.pop(0) if server.codes else 0
        if code:
            self.send_response(code)
            if code == 302:
                self.send_header("Location", self.path.replace("/moved/", "/"))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        asked = self.headers.get("Range") if server.ranges else None
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        if asked and start >= len(server.content):
            self.send_error(416)
            return
        rest = server.content[start:]
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(rest)))
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}")
        self.end_headers()
        if server.cuts:
            rest = rest[: server.cuts.pop(0)]
        for position in range(0, len(rest), 65536):
            time.sleep(server.pause)
            self.wfile.write(rest[position : position + 65536])
        self.close_connection = True

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(transfer, "BACKOFF", 0.01)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    running = Server()
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield running
    running.shutdown()
    running.server_close()
    thread.join()


def complaint(*arguments) -> str:
    with pytest.raises(ValueError) as caught:
        fetch_file(*arguments)
    assert type(caught.value) is ValueError
    return str(caught.value)


def ranges(server: Server) -> list[str | None]:
    return [headers.get("Range") for headers in server.seen]


def test_a_file_is_fetched_once_and_checked(server, tmp_path):
    part = fetch_file(server.url, SHA256, tmp_path / "work")
    assert part.read_bytes() == CONTENT and part == tmp_path / "work" / f"{SHA256}.part"
    assert fetch_file(server.url, SHA256, tmp_path / "work") == part and ranges(server) == [None]


def test_a_broken_transfer_goes_on_where_it_stopped(server, tmp_path):
    server.cuts = [300_000, 100_000]
    assert fetch_file(server.url, SHA256, tmp_path).read_bytes() == CONTENT
    assert ranges(server) == [None, "bytes=300000-", "bytes=400000-"]


def test_a_transfer_that_is_killed_goes_on_in_the_next_run(server, tmp_path):
    server.pause = 0.05
    code = "import sys; from pathlib import Path; from pipeline.download.download import fetch_file; "
    code += "fetch_file(sys.argv[1], sys.argv[2], Path(sys.argv[3]))"
    root = Path(__file__).parents[2]
    child = subprocess.Popen([sys.executable, "-c", code, server.url, SHA256, str(tmp_path)], cwd=root)
    part = tmp_path / f"{SHA256}.part"
    deadline = time.monotonic() + 30
    while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    kept = part.stat().st_size
    assert 0 < kept < len(CONTENT)
    server.pause = 0.0
    assert fetch_file(server.url, SHA256, tmp_path).read_bytes() == CONTENT
    assert ranges(server) == [None, f"bytes={kept}-"]


def test_a_server_that_ignores_ranges_sends_the_whole_file(server, tmp_path):
    server.ranges, server.cuts = False, [300_000]
    assert fetch_file(server.url, SHA256, tmp_path).read_bytes() == CONTENT
    assert ranges(server) == [None, "bytes=300000-"]


def test_a_server_that_stalls_is_asked_again(server, tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "TIMEOUT", 0.2)
    monkeypatch.setattr(transfer, "ATTEMPTS", 2)
    server.pause = 1.0
    message = complaint(server.url, SHA256, tmp_path)
    assert "no answer after 2 attempts (timed out). What has arrived is kept" in message


def test_a_busy_server_is_asked_again_but_not_forever(server, tmp_path):
    server.codes = [503, 429, 500]
    assert fetch_file(server.url, SHA256, tmp_path).read_bytes() == CONTENT and len(server.seen) == 4
    server.codes = [503] * 9
    assert "after 5 attempts (the server answered 503)" in complaint(server.url, "0" * 64, tmp_path)


def test_a_refusal_is_told_at_once(server, tmp_path):
    server.codes = [404]
    message = complaint(server.url, SHA256, tmp_path)
    assert message.startswith(f"{server.url}: the server answered 404 (Not Found); check the address")
    assert len(server.seen) == 1


def test_no_server_at_all_names_the_mirror(tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "BACKOFF", 0.0)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    message = complaint("http://127.0.0.1:9/x.gz", SHA256, tmp_path)
    assert "http://127.0.0.1:9/x.gz: no answer after 5 attempts" in message and "PIPELINE_DATA_MIRROR" in message


def test_a_wrong_checksum_names_both_and_removes_the_download(server, tmp_path):
    message = complaint(server.url, "0" * 64, tmp_path)
    assert f"{server.url}: found SHA-256 {SHA256}; params.yaml asks for {'0' * 64}" in message
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", [100_000, len(CONTENT), len(CONTENT) + 5])
def test_leftovers_that_do_not_fit_are_replaced(server, tmp_path, size):
    (tmp_path / f"{SHA256}.part").write_bytes(b"x" * size)
    assert fetch_file(server.url, SHA256, tmp_path).read_bytes() == CONTENT
    assert ranges(server) == [f"bytes={size}-", None]


def test_a_mirror_wins_over_the_net_and_is_checked_too(server, tmp_path):
    mirror = tmp_path / "mirror"
    copy = mirror / "fashion-mnist" / "file.bin"
    copy.parent.mkdir(parents=True)
    copy.write_bytes(CONTENT)
    place = mirror, "fashion-mnist", "file.bin", SHA256
    assert mirrored_file(*place) == copy
    assert fetch_file(server.url, SHA256, tmp_path / "a", copy).read_bytes() == CONTENT and not server.seen
    copy.write_bytes(b"other")
    assert f"{copy}: found SHA-256" in complaint(server.url, SHA256, tmp_path / "b", mirrored_file(*place))
    copy.unlink()
    assert mirrored_file(*place) is None
    assert fetch_file(server.url, SHA256, tmp_path / "c", None).read_bytes() == CONTENT and len(server.seen) == 1


@pytest.fixture
def netrc(tmp_path, monkeypatch):
    file = tmp_path / "netrc"
    file.write_text("machine 127.0.0.1 login ann password p@ss-word\n")
    monkeypatch.setenv("NETRC", str(file))
    return file


def test_users_and_passwords_come_from_netrc(server, tmp_path, netrc):
    assert fetch_file(server.url, SHA256, tmp_path).read_bytes() == CONTENT
    assert server.seen[0]["Authorization"] == "Basic " + base64.b64encode(b"ann:p@ss-word").decode()


def test_tokens_and_signed_queries_come_from_the_environment(server, tmp_path, netrc, monkeypatch, caplog):
    monkeypatch.setenv("PIPELINE_TOKEN_127_0_0_1", "hidden-token")
    monkeypatch.setenv("PIPELINE_QUERY_127_0_0_1", "?sv=1&sig=hidden%2Bsignature")
    monkeypatch.setenv("PIPELINE_TOKEN_OTHER_EXAMPLE_ORG", "not-for-this-host")
    server.codes = [503, 401]
    message = complaint(server.url + "?version=2", SHA256, tmp_path) + caplog.text
    assert server.seen[0]["Authorization"] == "Bearer hidden-token"
    assert server.seen[0]["path"].endswith("?version=2&sv=1&sig=hidden%2Bsignature")
    assert "the server answered 401" in message
    message += complaint(server.url.replace("file.bin", "a b"), SHA256, tmp_path)
    for secret in ("hidden", "p@ss", "ann"):
        assert secret not in message


def test_a_damaged_netrc_is_told_without_its_content_and_stops_no_download(server, tmp_path, netrc, caplog):
    netrc.write_text("machine 127.0.0.1 login ann passwort geheim-1\n")
    message = complaint(server.url, "0" * 64, tmp_path)
    assert "SHA-256" in message, "the file itself has come"
    message += caplog.text
    assert "netrc" in message and "line 1" in message and "geheim" not in message and "passwort" not in message


def test_a_network_that_goes_down_while_it_sends_is_asked_again(server, tmp_path, monkeypatch):
    whole, faults = transfer.chunks_of, [OSError(errno.EHOSTUNREACH, "No route to host"), ssl.SSLError("bad record")]

    def chunks_of(stream):
        for number, chunk in enumerate(whole(stream)):
            if number and faults and not isinstance(stream, io.BufferedReader):
                raise faults.pop()
            yield chunk

    monkeypatch.setattr(transfer, "chunks_of", chunks_of)
    assert fetch_file(server.url, SHA256, tmp_path).read_bytes() == CONTENT and not faults
    assert len(server.seen) == 3


def test_letters_that_an_address_cannot_have_are_told(server, tmp_path):
    assert "not a valid address; write blanks and other signs as %20" in complaint(f"{server.url}/é", SHA256, tmp_path)


def test_a_redirection_does_not_take_the_password_along(server, tmp_path, netrc):
    server.codes = [302]
    assert fetch_file(server.url.replace("/file", "/moved/file"), SHA256, tmp_path).read_bytes() == CONTENT
    assert ["Authorization" in headers for headers in server.seen] == [True, False]


def test_files_and_packages_are_sources(tmp_path):
    source = tmp_path / "a file.csv"
    source.write_bytes(CONTENT)
    assert fetch_file(source.as_uri(), SHA256, tmp_path / "work").read_bytes() == CONTENT
    heavy = "import sys; from pipeline.download.download import local_source as f; "
    heavy += "print(f('package://sklearn/datasets/data/digits.csv.gz').stat().st_size, 'sklearn' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", heavy], cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert found.stdout.split()[1] == "False" and int(found.stdout.split()[0]) > 0, found.stderr


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("package://no_such_package/x.csv", "no package 'no_such_package' is installed here"),
        ("package://sklearn/no/such.csv", "package://sklearn/no/such.csv: no such file"),
        ("package://os/x", "no package 'os'"),
        ("package://../x", "no package '..'"),
        ("file:///no/such.csv", "file:///no/such.csv: no such file (/no/such.csv)"),
        ("file://host/such.csv", "not an address of a file; allowed: http(s)://"),
        ("ftp://host/such.csv", "not an address of a file"),
        ("data.csv", "not an address of a file"),
    ],
)
def test_addresses_without_a_file_are_refused(url, expected):
    with pytest.raises(ValueError) as caught:
        local_source(url)
    assert expected in str(caught.value)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package `parcel` in site/, beside a file that is not its own."""
    folder = tmp_path / "site" / "parcel"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "own.csv").write_bytes(CONTENT)
    (tmp_path / "site" / "outside.csv").write_bytes(b"secret")
    monkeypatch.syspath_prepend(tmp_path / "site")
    return folder


@pytest.mark.parametrize("path", ["../outside.csv", "a/../../outside.csv", "%2e%2e/outside.csv", "..%2Foutside.csv",
                                  "link.csv", "folder/outside.csv", "own.csv%00"])  # fmt: skip
def test_no_address_leads_out_of_its_package(path, package):
    (package / "link.csv").symlink_to("../outside.csv")
    (package / "folder").symlink_to("..", target_is_directory=True)
    with pytest.raises(ValueError, match="leads out of the package"):
        local_source(f"package://parcel/{path}")


def test_links_that_stay_in_the_package_and_a_package_that_is_one_are_welcome(package, tmp_path, monkeypatch):
    (package / "same.csv").symlink_to("own.csv")
    (tmp_path / "site" / "linked").symlink_to(package, target_is_directory=True)
    for url in ("package://parcel/same.csv", "package://linked/own.csv"):
        assert local_source(url).read_bytes() == CONTENT


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="needs /dev/full (Linux)")
def test_a_full_disk_is_told(server, tmp_path):
    (tmp_path / f"{SHA256}.part").symlink_to("/dev/full")
    assert f"{tmp_path}: no space left on the disk" in complaint(server.url, SHA256, tmp_path)


def test_progress_is_one_bar_in_a_terminal_and_plain_lines_elsewhere(server, tmp_path, monkeypatch, capsys, caplog):
    monkeypatch.setattr(transfer, "INTERVAL", 0.0)
    caplog.set_level("INFO")
    fetch_file(server.url, SHA256, tmp_path / "a")
    assert "file.bin: 1.0 MB of 1.0 MB" in caplog.text and capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    fetch_file(server.url, SHA256, tmp_path / "b")
    assert "file.bin: 100%" in capsys.readouterr().err
