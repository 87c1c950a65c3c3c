"""A unix socket whose connections are served on threads, for as long as a test needs it."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from shutil import rmtree
from tempfile import mkdtemp
from threading import Lock, Thread, current_thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# As many clients may connect at once as the kernel lets.
_BACKLOG = 4096

# Seconds until accept is tried again.
_PAUSE = 0.01


class Listener:
    """Listens on a socket in a temporary directory, until it is closed.

    Attributes:
        address: the socket's path.
    """

    def __init__(self, serve: Callable[[socket.socket], None]) -> None:
        """Calls ``serve`` with each connection, on a thread of its own."""
        self._serve = serve
        self._closing = False
        # Not a TemporaryDirectory: a forked child that exits would remove it.
        self._directory = mkdtemp(prefix="sockproc-")
        self.address = os.path.join(self._directory, "socket")
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.bind(self.address)
            self._socket.listen(_BACKLOG)
        except BaseException:
            self._socket.close()
            rmtree(self._directory)
            raise
        # Held while a connection is closed: its number must not be another's when it is shut down.
        self._lock = Lock()
        self._open: dict[Thread, socket.socket] = {}
        self._acceptor = Thread(target=self._accept, name="sockproc", daemon=True)
        self._acceptor.start()

    def close(self) -> None:
        """Ends all connections and waits for the threads; then the directory is gone too."""
        self._closing = True
        # This wakes the thread that waits in accept.
        self._socket.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._socket.close()
        with self._lock:
            threads = list(self._open)
            for connection in self._open.values():
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()
        rmtree(self._directory)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                if self._closing:
                    return
                # Out of descriptors, most likely. Some may be free again soon.
                time.sleep(_PAUSE)
                continue
            thread = Thread(
                target=self._handle, args=(connection,), name="sockproc", daemon=True
            )
            with self._lock:
                self._open[thread] = connection
            thread.start()

    def _handle(self, connection: socket.socket) -> None:
        try:
            # The client may go whenever it likes.
            with suppress(OSError):
                self._serve(connection)
        finally:
            with self._lock:
                connection.close()
                del self._open[current_thread()]
