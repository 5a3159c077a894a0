"""The etcd cluster behind this node's API server, asked with the API server's own credentials.

Keys are read here, used here, and never leave the node. Nothing is written: only the member list
and each member's own state are asked for, and neither needs a quorum.
"""

import http.client
import json
import os
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Dict, List, Optional
from urllib.parse import urlsplit

from kubeha.node.tls import client_context

# etcd's gRPC gateway: 3.4 and later, 3.3, 3.2.
GATEWAYS = ("/v3", "/v3beta", "/v3alpha")
BODY_LIMIT = 256 * 1024


class NotAsked(Exception):
    """There is an answer, but not to our question."""


def ask_etcd(flags: Dict[str, str], root: str, timeout: float) -> Dict[str, Any]:
    """Members of the cluster and each one's state, as seen from here within `timeout` seconds.

    `flags` are kube-apiserver's, `root` is where its files are seen. `error` says why there are
    no members; a member's `error` why it has no state, and `down` whether it does not answer.
    """
    deadline = time.monotonic() + timeout
    endpoints = [each for each in flags.get("etcd-servers", "").split(",") if each]
    answer = {"endpoints": endpoints, "members": [], "error": None}  # type: Dict[str, Any]
    try:
        context = _context(flags, root)
        listed = _members(endpoints, context, deadline)
    except (OSError, ValueError, NotAsked, http.client.HTTPException) as error:
        answer.update(error=_words(error), silent=_silent(error))
        return answer
    with ThreadPoolExecutor(max_workers=max(1, len(listed))) as pool:
        answer["members"] = list(pool.map(lambda member: _state(member, context, deadline), listed))
    return answer


def _context(flags: Dict[str, str], root: str) -> Optional[ssl.SSLContext]:
    """TLS as the API server speaks it with etcd; None where it speaks none."""
    if not flags.get("etcd-servers", "").startswith("https"):
        return None
    names = ("etcd-cafile", "etcd-certfile", "etcd-keyfile")
    ca, certificate, key = (_text(flags.get(name), root) for name in names)
    context = client_context(ca, certificate, key)
    # A certificate that lacks a name is no reason to call a member down: its CA is enough.
    context.check_hostname = False
    return context


def _text(path: Optional[str], root: str) -> Optional[str]:
    if not path:
        return None
    with open(os.path.join(root, path.lstrip("/"))) as stream:
        return stream.read()


def _members(
    endpoints: List[str], context: Optional[ssl.SSLContext], deadline: float
) -> List[Dict[str, Any]]:
    """The member list of the first endpoint that gives one; raises the last one's error."""
    last = NotAsked("kube-apiserver has no --etcd-servers")  # type: Exception
    for url in endpoints:
        try:
            # Not linearizable, which needs a quorum: that is asked for explicitly only.
            said = _post(url, "/cluster/member/list", context, deadline)
            members = said.get("members")
            if isinstance(members, list):
                return [member for member in members if isinstance(member, dict)]
            last = NotAsked("%s lists no members" % url)
        except (OSError, ValueError, NotAsked, http.client.HTTPException) as error:
            last = error
    raise last


def _state(
    member: Dict[str, Any], context: Optional[ssl.SSLContext], deadline: float
) -> Dict[str, Any]:
    """One member as listed, with what it says of itself by any of its client addresses."""
    urls = member.get("clientURLs") or []
    state = {
        "id": str(member.get("ID", "")),
        "name": str(member.get("name", "")),
        "urls": [str(url) for url in urls],
        "peers": [str(url) for url in member.get("peerURLs") or []],
        "learner": bool(member.get("isLearner")),
        "down": False,
        "error": None if urls else "it has never started",
    }  # type: Dict[str, Any]
    for url in state["urls"]:
        try:
            said = _post(url, "/maintenance/status", context, deadline)
        except (OSError, ValueError, NotAsked, http.client.HTTPException) as error:
            state.update(down=_silent(error), error=_words(error))
            continue
        state.update(down=False, error=None, leader=str(said.get("leader") or ""))
        state.update(version=str(said.get("version") or ""), errors=_lines(said.get("errors")))
        break
    return state


def _lines(value: Any) -> List[str]:
    return [str(each) for each in value] if isinstance(value, list) else []


def _post(
    url: str, path: str, context: Optional[ssl.SSLContext], deadline: float
) -> Dict[str, Any]:
    """The JSON answer to an empty request, by whichever gateway this etcd has."""
    for gateway in GATEWAYS:
        status, body = _exchange(url, gateway + path, context, deadline)
        if status == 200:
            said = json.loads(body.decode("utf-8", "replace"))
            if isinstance(said, dict):
                return said
        elif status != 404:
            raise NotAsked("%s%s: HTTP %d" % (url, gateway + path, status))
    raise NotAsked("%s has no JSON gateway" % url)


def _exchange(
    url: str, path: str, context: Optional[ssl.SSLContext], deadline: float
) -> "tuple[int, bytes]":
    left = deadline - time.monotonic()
    if left <= 0:
        raise OSError("no answer in time")
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 2379
    if parts.scheme == "https" and context is not None:
        connection = http.client.HTTPSConnection(host, port, timeout=left, context=context)  # type: http.client.HTTPConnection
    else:
        connection = http.client.HTTPConnection(host, port, timeout=left)
    try:
        connection.request("POST", path, b"{}", {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read(BODY_LIMIT)
    finally:
        connection.close()


def _silent(error: Exception) -> bool:
    """Is nobody there? A refused handshake, or a file of ours that is missing, does not say so."""
    other = (ssl.SSLError, FileNotFoundError, PermissionError)
    return isinstance(error, OSError) and not isinstance(error, other)


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
