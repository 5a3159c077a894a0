"""The processes of keepalived, as the kernel has them."""

from typing import Any, List, Sequence

from kubeha.node.guard.events import Gone, Stopped

GROUPS = tuple(
    "/sys/fs/cgroup%s/system.slice/keepalived.service/cgroup.procs" % place
    for place in ("", "/unified", "/systemd")
)


class Unit:
    """The processes of keepalived's unit, and no others."""

    def __init__(self, places: Sequence[str] = GROUPS) -> None:
        self.places = tuple(places)
        self.seen = False

    def processes(self) -> List[int]:
        """All of them; the control group is gone with the last one."""
        for path in self.places:
            try:
                with open(path) as file:
                    found = [int(line) for line in file]
            except OSError:
                continue
            if found:
                self.places, self.seen = (path,), True
            return found
        return []

    def state(self) -> Any:
        """Gone or Stopped; None: it is at work, or was never seen, so nothing is known."""
        processes = self.processes()
        if not processes:
            return Gone() if self.seen else None
        return Stopped() if stands_still(processes) else None


def stands_still(processes: List[int]) -> bool:
    """Is one of them stopped? Whoever stopped it, it answers nobody."""
    for process in processes:
        try:
            with open("/proc/%d/stat" % process) as file:
                if file.read().rpartition(")")[2].split()[0] in ("T", "t"):
                    return True
        except OSError:
            continue
    return False
