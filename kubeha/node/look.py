"""Looks at what runs on this node: TLS endpoints, unix sockets, keepalived's own state.

Raw text only. What it means is found out on the operator's side.
"""

import json
import os
import socket
import ssl
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Dict, List, Optional, Sequence

from kubeha.node.collect import collect
from kubeha.node.control_plane import control_plane
from kubeha.node.machine import machine, package_source
from kubeha.node.tls import client_context
from kubeha.node.wire import Wire

BODY_LIMIT = 256 * 1024
SOCKET_LIMIT = 4 * 1024 * 1024


def observe(
    wire: Wire,
    commands: Dict[str, Dict[str, Any]],
    files: List[str],
    asks: Dict[str, Dict[str, Dict[str, Any]]],
) -> Dict[str, Any]:
    """A whole look at the node in one round trip: `collect`, and beside it `look`."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        looking = pool.submit(look, wire, asks)
        result = collect(wire, commands, files)
        result["answers"] = looking.result()
    # Of the moment when this is sent: the operator compares it with his own.
    result["clock"] = time.time()
    return result


def look(wire: Wire, asks: Dict[str, Dict[str, Dict[str, Any]]]) -> Dict[str, Any]:
    """Answer many questions at once: {'fetch': {...}, 'socket': {...}, ...}, by KINDS."""
    todo = [(kind, key, ask) for kind, part in asks.items() for key, ask in part.items()]
    answers = {kind: {} for kind in asks}  # type: Dict[str, Dict[str, Any]]
    with ThreadPoolExecutor(max_workers=16) as pool:
        running = [(kind, key, pool.submit(KINDS[kind], ask)) for kind, key, ask in todo]
        for kind, key, future in running:
            answers[kind][key] = future.result()
    return answers


def fetch(ask: Dict[str, Any]) -> Dict[str, Any]:
    """One HTTPS GET on a connection of its own.

    `ask`: address, port, path, timeout (seconds, for the whole), and optionally `ca` (PEM) or
    `ca_files` (the first that is there; without either nothing is verified), `server_name`
    (checked against the certificate when there is a CA), `certificate` and `key` (PEM, the
    client's), `token`. The answer carries status, body, the Date header and the server's
    certificate, or an `error` with its kind.
    """
    started = time.monotonic()
    answer = {"status": None, "error": None}  # type: Dict[str, Any]
    try:
        _fetch(ask, answer, started + ask["timeout"])
    except (OSError, ValueError) as error:
        answer["error"] = {"kind": error_kind(error), "message": str(error)}
    answer["seconds"] = time.monotonic() - started
    return answer


def _fetch(ask: Dict[str, Any], answer: Dict[str, Any], deadline: float) -> None:
    ca = ask.get("ca") or first_text(ask.get("ca_files", ()))
    context = client_context(ca, ask.get("certificate"), ask.get("key"))
    name = ask.get("server_name") or ask["address"]
    with socket.create_connection((ask["address"], ask["port"]), remaining(deadline)) as plain:
        plain.settimeout(remaining(deadline))
        try:
            secured = context.wrap_socket(plain, server_hostname=name)
        except (ssl.SSLError, ssl.CertificateError) as error:
            if error_kind(error) in ("name", "certificate"):
                # Not trusted, but what was shown says why.
                answer["certificate"] = shown_certificate(ask, name, deadline)
            raise
        with secured as tls:
            answer["certificate"] = ssl.DER_cert_to_PEM_cert(tls.getpeercert(True) or b"")
            host = "[%s]" % name if ":" in name else name
            lines = ["GET %s HTTP/1.0" % ask["path"], "Host: %s" % host, "User-Agent: kubeha"]
            if ask.get("token"):
                lines.append("Authorization: Bearer %s" % ask["token"])
            tls.sendall("\r\n".join(lines + ["", ""]).encode())
            raw = read_all(tls, deadline, BODY_LIMIT)
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *headers = head.decode("latin-1").split("\r\n")
    words = first.split()
    if len(words) < 2 or not words[1].isdigit():
        raise ValueError("not an HTTP answer: %.60r" % first)
    answer["status"] = int(words[1])
    answer["body"] = body.decode("utf-8", "replace")
    for header in headers:
        key, _, value = header.partition(":")
        if key.lower() == "date":
            answer["date"] = value.strip()


def shown_certificate(ask: Dict[str, Any], name: str, deadline: float) -> Optional[str]:
    """The server's certificate (PEM), whoever signed it; nothing is sent to it."""
    try:
        address = (ask["address"], ask["port"])
        with socket.create_connection(address, remaining(deadline)) as plain:
            plain.settimeout(remaining(deadline))
            with client_context(None).wrap_socket(plain, server_hostname=name) as tls:
                return ssl.DER_cert_to_PEM_cert(tls.getpeercert(True) or b"")
    except (OSError, ValueError):
        return None


def first_text(paths: Sequence[str]) -> Optional[str]:
    """Content of the first of these files that can be read."""
    for path in paths:
        try:
            with open(path) as stream:
                return stream.read()
        except OSError:
            continue
    return None


def remaining(deadline: float) -> float:
    """Seconds until the deadline; raises socket.timeout when it has passed."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise socket.timeout("timed out")
    return left


def read_all(connection: socket.socket, deadline: float, limit: int) -> bytes:
    """Everything until the other side closes, at most `limit` bytes."""
    parts = []
    size = 0
    while size < limit:
        connection.settimeout(remaining(deadline))
        try:
            part = connection.recv(65536)
        except ssl.SSLEOFError:
            # HTTP/1.0 servers may end without close_notify; a cut body shows when it is parsed.
            break
        if not part:
            break
        parts.append(part)
        size += len(part)
    return b"".join(parts)


def error_kind(error: Exception) -> str:
    """One word for why a connection failed."""
    words = str(error)
    # Python 3.6 has CertificateError for names alone and SSLError for all else about certificates;
    # later ones tell by their words.
    if isinstance(error, (ssl.CertificateError, ssl.SSLError)):
        if "is not valid for" in words or "doesn't match" in words:
            return "name"
        if "CERTIFICATE_VERIFY_FAILED" in words:
            return "certificate"
    if isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        return "closed"
    if isinstance(error, ssl.SSLError):
        return "tls"
    if isinstance(error, socket.timeout):
        return "timeout"
    if isinstance(error, ConnectionRefusedError):
        return "refused"
    if isinstance(error, ConnectionResetError):
        return "reset"
    if isinstance(error, ValueError):
        return "protocol"
    return "unreachable"


def ask_socket(ask: Dict[str, Any]) -> Dict[str, Any]:
    """Send one line to a unix stream socket and read the whole answer (HAProxy's admin socket)."""
    deadline = time.monotonic() + ask["timeout"]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(remaining(deadline))
            connection.connect(ask["path"])
            connection.sendall(ask["line"].encode() + b"\n")
            text = read_all(connection, deadline, SOCKET_LIMIT).decode("utf-8", "replace")
    except OSError as error:
        return {"text": "", "error": "%s: %s" % (ask["path"], error)}
    return {"text": text, "error": None}


def keepalived_state(ask: Dict[str, Any]) -> Dict[str, Any]:
    """The JSON dump of a running keepalived (signal JSON, man keepalived.8 SIGNALS).

    The file is not written atomically before keepalived 2.3.4, so it is removed first and read
    until it parses. `ask`: timeout in seconds.
    """
    deadline = time.monotonic() + ask["timeout"]
    try:
        pid = int(_output(["systemctl", "show", "-p", "MainPID", "--value", "keepalived"]) or 0)
        if pid <= 0:
            return {"text": "", "error": "keepalived does not run"}
        path = _dump_path(pid)
        number = int(_output(["keepalived", "--signum=JSON"]))
        if os.path.exists(path):
            os.unlink(path)
        os.kill(pid, number)
        return {"text": _wait_for_json(path, deadline), "error": None}
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return {"text": "", "error": str(error)}


def _dump_path(pid: int) -> str:
    """keepalived writes to $TMPDIR of its own environment (2.2.7 and later), else to /tmp."""
    with open("/proc/%d/environ" % pid, "rb") as stream:
        variables = dict(part.split(b"=", 1) for part in stream.read().split(b"\0") if b"=" in part)
    directory = variables.get(b"TMPDIR", b"/tmp").decode()
    return os.path.join("/proc/%d/root" % pid, directory.lstrip("/"), "keepalived.json")


def _wait_for_json(path: str, deadline: float) -> str:
    while time.monotonic() < deadline:
        try:
            with open(path) as stream:
                text = stream.read()
            json.loads(text)
            return text
        except (FileNotFoundError, ValueError):
            time.sleep(0.01)
    raise ValueError("keepalived did not write %s in time" % path)


def _output(argv: List[str]) -> str:
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=5
    )
    return done.stdout.decode().strip()


KINDS = {
    "fetch": fetch,
    "socket": ask_socket,
    "keepalived": keepalived_state,
    "control_plane": control_plane,
    "machine": machine,
    "package_source": package_source,
}
