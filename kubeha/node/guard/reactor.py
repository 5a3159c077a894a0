"""Events and the time in, actions out, and what is due later: no sockets, no clocks."""

from typing import Any, Dict, List

from kubeha.node.guard.events import Tick
from kubeha.node.guard.timing import NEVER


class Reactor:
    """Calls `_on_...` for an event, and `_time_to_...` for a timer that has run out."""

    def __init__(self) -> None:
        self.now = 0.0
        self.actions: List[Any] = []
        self.timers: Dict[str, float] = {}

    def react(self, now: float, event: Any) -> List[Any]:
        """What is to be done, in this order."""
        self.actions = []
        self.now = now
        self._before_any()
        getattr(self, "_on_" + type(event).__name__.lower())(event)
        if not isinstance(event, Tick):
            self._on_tick(Tick())
        return self.actions

    def deadline(self) -> float:
        """When the next Tick is due."""
        return min(self.timers.values(), default=NEVER)

    def _before_any(self) -> None:
        """Before each event."""

    def _on_tick(self, _: Tick) -> None:
        for name, when in sorted(self.timers.items(), key=lambda timer: timer[1]):
            if when <= self.now and self.timers.get(name) == when:
                del self.timers[name]
                getattr(self, "_time_to_" + name)()

    def _do(self, *actions: Any) -> None:
        self.actions.extend(actions)

    def _in(self, seconds: float, name: str) -> None:
        self.timers[name] = self.now + seconds

    def _no_longer(self, *names: str) -> None:
        for name in names:
            self.timers.pop(name, None)
