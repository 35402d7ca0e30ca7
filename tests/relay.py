"""A relay in front of a server, which behaves as networks and servers do when they fail."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends a reset instead of what is left


class Relay:
    """Passes connections on to a port; `cut`, `silence` and `lose_answers` say what goes wrong from now on."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.listener = _listener(0)
        self.port: int = self.listener.getsockname()[1]
        self.lost = threading.Event()  # an answer was thrown away
        self._losing = self._silent = False
        self._ends: list[socket.socket] = []
        self._accept()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """As a server that was killed: connections break, and new ones are refused."""
        self.listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self.listener.close()
        self._drop()

    def silence(self) -> None:
        """As a server that hangs: it takes connections, and nothing comes back on any of them."""
        self._silent = True

    def lose_answers(self) -> None:
        """As a server that dies when it has done its work: the next answer never arrives."""
        self.lost.clear()
        self._losing = True

    def restore(self) -> None:
        """All is well again. Old connections are gone."""
        was_silent, self._silent, self._losing = self._silent, False, False
        if was_silent:
            self._drop()
        if self.listener.fileno() < 0:
            self.listener = _listener(self.port)
            self._accept()

    def _drop(self) -> None:
        ends, self._ends = self._ends, []
        for end in ends:
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        threading.Thread(target=self._serve, args=(self.listener,), daemon=True).start()

    def _serve(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
                far = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                return  # closed by `cut`
            self._ends += [near, far]
            for source, sink, answers in ((near, far, False), (far, near, True)):
                threading.Thread(target=self._pass_on, args=(source, sink, answers), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(65536):
                if self._silent:
                    continue
                if answers and self._losing:
                    self._losing = False
                    self.lost.set()
                    break
                sink.sendall(chunk)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextmanager
def relaying(target: int) -> Iterator[Relay]:
    """A relay that is gone when the block ends."""
    relay = Relay(target)
    try:
        yield relay
    finally:
        with contextlib.suppress(OSError):
            relay.cut()


def _listener(port: int) -> socket.socket:
    found = socket.socket()
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    found.bind(("127.0.0.1", port))
    found.listen()
    return found
