"""The line between a node's program and its operator: JSON both ways, safe from any thread."""

import json
import os
import sys
import threading
from typing import Any, BinaryIO, Dict, TextIO


class Refused(Exception):
    """The operation was not done; `kind` is a word for programs, the message is for people."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Wire:
    """Reads the request, sends answers, and knows what the operator does meanwhile.

    `stop` is set when the operator says so (by any byte after the request), and with `gone`, which
    is set when standard input ends.
    """

    def __init__(self, source: BinaryIO, sink: TextIO) -> None:
        self.gone = threading.Event()
        self.stop = threading.Event()
        self._source = source
        self._sink = sink
        self._lock = threading.Lock()

    def request(self) -> Dict[str, Any]:
        """Read the request, then watch for the end of input."""
        length = int(self._source.readline())
        request = json.loads(self._source.read(length).decode())
        threading.Thread(target=self._watch, daemon=True).start()
        return request  # type: ignore[no-any-return]

    def send(self, message: Dict[str, Any]) -> None:
        """Send one line; with nobody there to read it, only remember that."""
        line = json.dumps(message, separators=(",", ":")) + "\n"
        try:
            with self._lock:
                self._sink.write(line)
                self._sink.flush()
        except OSError:
            self.gone.set()
            # Python flushes standard output once more at exit and would complain of it.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def event(self, name: str, **fields: Any) -> None:
        self.send(dict(fields, event=name))

    def _watch(self) -> None:
        # The descriptor itself is read: a thread waiting inside the buffered object would hold
        # its lock, and Python aborts at exit when it cannot take it.
        descriptor = self._source.fileno()
        try:
            while os.read(descriptor, 4096):
                self.stop.set()
        finally:
            self.gone.set()
            self.stop.set()
