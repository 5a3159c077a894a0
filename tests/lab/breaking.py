"""Break one thing on a running endpoint, see exactly the findings that it makes, and mend it."""

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from endpoint import Endpoint

Found = set[tuple[str, str]]

# One command of HAProxy's admin socket, which nothing on the machines but Python can reach.
ASK_HAPROXY = (
    "import socket, sys\n"
    "asking = socket.socket(socket.AF_UNIX)\n"
    "asking.connect('/run/haproxy/admin.sock')\n"
    "asking.sendall(sys.argv[1].encode() + b'\\n')\n"
    "print(asking.recv(65536).decode())"
)


@dataclass(frozen=True)
class Breaking:
    """An endpoint that is broken on purpose."""

    endpoint: Endpoint

    def run(self, names: str | Iterable[str], *command: str) -> None:
        """A command on one machine, or on each of several."""
        for name in [names] if isinstance(names, str) else names:
            self.endpoint.lab.machine(name).execute(list(command), timeout=90)

    def shell(self, names: str | Iterable[str], line: str) -> None:
        self.run(names, "sh", "-c", line)

    def haproxy(self, name: str, *lines: str) -> None:
        """Commands to a machine's HAProxy."""
        for line in lines:
            self.run(name, "python3", "-c", ASK_HAPROXY, line)

    def found(self, verb: str) -> Found:
        """(code, node) of every finding of `kubeha VERB`."""
        done = self.endpoint.lab.kubeha(verb, "-o", "json")
        assert done.stdout, done.stderr
        return {(each["code"], each["node"]) for each in json.loads(done.stdout)["findings"]}

    def finds(self, verb: str, wanted: Found, *, timeout: float = 60) -> None:
        """Wait until the findings are exactly these."""
        deadline = time.monotonic() + timeout
        while (seen := self.found(verb)) != wanted:
            assert time.monotonic() < deadline, f"{verb} finds {sorted(seen)}, not {sorted(wanted)}"
            time.sleep(0.2)

    @contextmanager
    def file_with(self, *lines: str) -> Iterator[None]:
        """The cluster file with more lines, for as long as the body runs."""
        file = self.endpoint.lab.place / "kubeha.yaml"
        text = file.read_text()
        file.write_text(text + "".join(f"{line}\n" for line in lines))
        try:
            yield
        finally:
            file.write_text(text)

    @contextmanager
    def mended(self, names: str | Sequence[str], line: str) -> Iterator[None]:
        """Whatever happens in the body, run a shell line on machines afterwards."""
        try:
            yield
        finally:
            self.shell(names, line)
