"""Put files in place, or take them away, so that none is ever seen half-written.

Rules. Everything is checked before anything is touched. All temporary files are complete and on
disk before the first rename, so a full disk changes nothing. A rename within one directory is
atomic: after `kill -9` or a power failure a path has its old or its new content. Temporary files
left over have a name of their own and go with the next write into that directory; the lock on the
directory tells them from those of a writer at work.
"""

import contextlib
import errno
import fcntl
import grp
import hashlib
import os
import pwd
import stat
import time
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Tuple

from kubeha.node.wire import Refused, Wire

TEMPORARY = ".kubeha-tmp-"
ABSENT = "absent"
DIRECTORY = "directory"
_LOCK_PATIENCE = 10.0

File = Dict[str, Any]
Prepared = NamedTuple("Prepared", [("temporary", str), ("path", str), ("kept", bool)])


def write(wire: Wire, files: List[File]) -> List[Dict[str, Any]]:
    """Write `files` (the fields of FileWrite); returns the fields of FileOutcome."""
    _refuse_repeated(files)
    with _explained(""):
        changed = [item for item in files if _wants_change(item)]
        made = []  # type: List[str]
        prepared = []  # type: List[Prepared]
        try:
            _make_parents(changed, made)
            with _locked(_parents(_targets(changed))):
                before = {item["path"]: _prepare(item, prepared) for item in changed}
                _put_in_place(changed, prepared)
        except BaseException:
            _take_back(prepared, made)
            raise
    return [_outcome(item, before, made) for item in files]


def remove(wire: Wire, paths: List[File]) -> List[Dict[str, Any]]:
    """Remove `paths` (the fields of FileRemoval); one that is gone already is as wanted."""
    _refuse_repeated(paths)
    with _explained(""):
        digests = {item["path"]: _removable(item) for item in paths}
        there = [item["path"] for item in paths if digests[item["path"]] != ABSENT]
        # Deepest first: a directory is empty once its files are gone.
        gone = {path for path in sorted(there, key=_depth, reverse=True) if _take_away(path)}
        for directory in sorted(set(map(os.path.dirname, gone))):
            if os.path.isdir(directory):
                _sync(directory)
    return [
        {"path": path, "changed": path in gone, "before": before}
        for path, before in digests.items()
    ]


@contextlib.contextmanager
def _explained(path: str) -> Iterator[None]:
    """Turn an OSError into a refusal that says what it means for the operator."""
    kinds = {errno.ENOSPC: "disk-full", errno.EDQUOT: "disk-full", errno.EROFS: "read-only"}
    try:
        yield
    except OSError as error:
        kind = kinds.get(error.errno or 0, "file")
        name = path or error.filename
        raise Refused(kind, "%s: %s" % (name, error.strerror or error)) from error


def _refuse_repeated(files: Iterable[File]) -> None:
    seen = set()
    for item in files:
        path = item["path"]
        if not os.path.isabs(path) or os.path.normpath(path) != path:
            raise Refused("path", "%s: not a plain absolute path" % path)
        if path in seen:
            raise Refused("path", "%s: named twice" % path)
        seen.add(path)


def _bytes(item: Dict[str, Any]) -> bytes:
    """The content as it has to be on the disk: the way back of what `collect` reads."""
    return bytes(item["content"].encode("utf-8", "surrogateescape"))


def _digest(path: str) -> str:
    """SHA-256 of a regular file, ABSENT, or a refusal for anything else."""
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return ABSENT
    if stat.S_ISLNK(found.st_mode):
        raise Refused("link", "%s: a symbolic link to %s" % (path, os.readlink(path)))
    if not stat.S_ISREG(found.st_mode):
        raise Refused("link", "%s: not a regular file" % path)
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def _check(item: File) -> str:
    """Refuse unless the path is as expected; returns its digest."""
    found, expected = _digest(item["path"]), item.get("expect")
    if expected is not None and found != expected:
        was = "is not there" if found == ABSENT else "has been changed since it was looked at"
        was = "has appeared since it was looked at" if expected == ABSENT else was
        raise Refused("stale", "%s: %s" % (item["path"], was))
    return found


def _wants_change(item: File) -> bool:
    owner, group = _ids(item)
    if _digest(item["path"]) == hashlib.sha256(_bytes(item)).hexdigest():
        found = os.stat(item["path"])
        have = (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid)
        if have == (item["mode"], owner, group):
            return False
    else:
        _check(item)
    return True


def _ids(item: File) -> Tuple[int, int]:
    try:
        return pwd.getpwnam(item["owner"]).pw_uid, grp.getgrnam(item["group"]).gr_gid
    except KeyError:
        name = "%s:%s" % (item["owner"], item["group"])
        raise Refused("owner", "%s: no user or group %s" % (item["path"], name)) from None


def _targets(files: Iterable[File]) -> Iterator[str]:
    for item in files:
        yield item["path"]
        if item.get("keep"):
            yield item["keep"]


def _parents(paths: Iterable[str]) -> List[str]:
    # Sorted: two writers that lock several directories take them in the same order.
    return sorted({os.path.dirname(path) for path in paths})


def _make_parents(files: List[File], made: List[str]) -> None:
    """Make missing directories, root's and 0755; adds them to `made`, outermost first."""
    for directory in _parents(_targets(files)):
        missing = []
        while not os.path.isdir(directory):
            missing.append(directory)
            directory = os.path.dirname(directory)
        for path in reversed(missing):
            os.mkdir(path, 0o755)
            os.chmod(path, 0o755)
            _sync(os.path.dirname(path))
            made.append(path)


@contextlib.contextmanager
def _locked(directories: List[str]) -> Iterator[None]:
    """Hold the directories against other writers, and clear what a killed one left in them."""
    with contextlib.ExitStack() as stack:
        for directory in directories:
            descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, descriptor)
            _lock(descriptor, directory)
            for name in os.listdir(directory):
                if name.startswith(TEMPORARY):
                    os.unlink(os.path.join(directory, name))
        yield


def _lock(descriptor: int, directory: str) -> None:
    deadline = time.monotonic() + _LOCK_PATIENCE
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise Refused("busy", "%s: somebody else is writing there" % directory) from None
            time.sleep(0.05)


def _prepare(item: File, prepared: List[Prepared]) -> str:
    """Lay the kept copy and the new file beside their places; returns the digest before."""
    before = _digest(item["path"])
    if item.get("keep") and before != ABSENT:
        with open(item["path"], "rb") as file:
            found = os.fstat(file.fileno())
            ids = (found.st_uid, found.st_gid)
            _lay(prepared, item["keep"], True, file.read(), found.st_mode, ids)
    _lay(prepared, item["path"], False, _bytes(item), item["mode"], _ids(item))
    return before


def _lay(
    prepared: List[Prepared], path: str, kept: bool, data: bytes, mode: int, ids: Tuple[int, int]
) -> None:
    directory, name = os.path.split(path)
    temporary = os.path.join(directory, TEMPORARY + name)
    prepared.append(Prepared(temporary, path, kept))
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    # 0600 until the owner is right: a secret is never readable by others, not for a moment.
    with _explained(path), open(os.open(temporary, flags, 0o600), "wb") as file:
        file.write(data)
        os.fchown(file.fileno(), *ids)
        os.fchmod(file.fileno(), stat.S_IMODE(mode))
        file.flush()
        os.fsync(file.fileno())


def _put_in_place(files: List[File], prepared: List[Prepared]) -> None:
    for file in files:
        if _digest(file["path"]) != hashlib.sha256(_bytes(file)).hexdigest():
            _check(file)
    # The way back is on disk before the first path changes.
    for kept in (True, False):
        batch = [item for item in prepared if item.kept is kept]
        for item in batch:
            os.rename(item.temporary, item.path)
            prepared.remove(item)
        for directory in _parents(item.path for item in batch):
            _sync(directory)


def _take_back(prepared: List[Prepared], made: List[str]) -> None:
    for item in prepared:
        with contextlib.suppress(OSError):
            os.unlink(item.temporary)
    for directory in reversed(made):
        with contextlib.suppress(OSError):
            os.rmdir(directory)


def _outcome(item: File, before: Dict[str, str], made: List[str]) -> Dict[str, Any]:
    path = item["path"]
    changed = path in before
    # An unchanged file is what was wanted before and after.
    digest = before.get(path) or hashlib.sha256(_bytes(item)).hexdigest()
    kept = item.get("keep") if changed and digest != ABSENT else None
    own = [name for name in made if _holds(name, path) or (kept and _holds(name, kept))]
    return {"path": path, "changed": changed, "before": digest, "kept": kept, "created": own}


def _holds(directory: str, path: str) -> bool:
    return path.startswith(directory + "/")


def _depth(path: str) -> int:
    return path.count("/")


def _removable(item: File) -> str:
    if item.get("expect") != DIRECTORY:
        return _check(item)
    if not os.path.lexists(item["path"]):
        return ABSENT
    if not os.path.isdir(item["path"]) or os.path.islink(item["path"]):
        raise Refused("stale", "%s: not a directory" % item["path"])
    return DIRECTORY


def _take_away(path: str) -> bool:
    if not os.path.isdir(path):
        os.unlink(path)
        return True
    try:
        os.rmdir(path)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise
    return True


def _sync(directory: str) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
