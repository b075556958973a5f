"""What a running ComfyUI tells about a prompt: its websocket, read with the standard library alone.

The host sends unfragmented, unmasked frames and no pings, so this reads just those (RFC 6455).
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import queue
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

TEXT_FRAME, BINARY_FRAME = 0x1, 0x2
PROGRESS_TEXT = 3
"""The host's number for a line of text under a node; the other binary messages are pictures."""


@dataclass(frozen=True)
class Event:
    """One message of the host."""

    kind: str
    """`executing`, `progress_state`, `progress_text`, `executed`, `execution_error` ..."""
    data: dict[str, Any]


class EventStream:
    """The messages of one client, in the order in which they arrive.

    A thread reads them as they come, so that nobody who looks away for a while holds up the host.
    """

    def __init__(self, port: int, client_id: str) -> None:
        """Connect to the host on this machine."""
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._bytes = self._socket.makefile("rb")
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._open(port, client_id)
        self._socket.settimeout(None)
        threading.Thread(target=self._read, daemon=True).start()

    def next(self, timeout: float) -> Event | None:
        """The next message; None when none came in this many seconds, or none will come."""
        try:
            return self._events.get(timeout=timeout)
        except queue.Empty:
            return None

    def close(self) -> None:
        """Hang up, which also ends the reading thread."""
        with contextlib.suppress(OSError):  # The host has hung up first.
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _open(self, port: int, client_id: str) -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        lines = (
            f"GET /ws?clientId={client_id} HTTP/1.1",
            f"Host: 127.0.0.1:{port}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Version: 13",
        )
        self._socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        status = self._bytes.readline()
        if b" 101 " not in status:
            raise ConnectionError(f"the host does not open a websocket: {status!r}")
        while self._bytes.readline() not in (b"\r\n", b""):
            pass

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # Closed from either side: how every stream ends.
            for code, payload in self._frames():
                event = _event(code, payload)
                if event is not None:
                    self._events.put(event)
        self._events.put(None)

    def _frames(self) -> Iterator[tuple[int, bytes]]:
        while len(head := self._bytes.read(2)) == 2:
            size = head[1] & 0x7F
            if size >= 126:
                wide = self._bytes.read(2 if size == 126 else 8)
                size = int.from_bytes(wide, "big")
            yield head[0] & 0x0F, self._bytes.read(size)


def _event(code: int, payload: bytes) -> Event | None:
    """A message that says something in words; None for previews and the like."""
    if code == TEXT_FRAME:
        message = json.loads(payload)
        return Event(message["type"], message.get("data") or {})
    if code == BINARY_FRAME and struct.unpack_from(">I", payload)[0] == PROGRESS_TEXT:
        (size,) = struct.unpack_from(">I", payload, 4)
        node, text = payload[8 : 8 + size].decode(), payload[8 + size :].decode()
        return Event("progress_text", {"node": node, "text": text})
    return None
