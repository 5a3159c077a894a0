"""Leases of kube-controller-manager and kube-scheduler: who leads, and is it alive? Pure."""

import json
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from kubeha.facts import Fetched

# Default --leader-elect-lease-duration of both, in seconds.
DURATION = 15.0


def holder(answer: Fetched) -> str | None:
    """Who leads, as the Lease names it (`m1_<uuid>`): the part before the last underscore."""
    identity = _spec(answer).get("holderIdentity")
    return str(identity).rsplit("_", 1)[0] if identity else None


def problem(answer: Fetched) -> str:
    """Why the Lease shows no living leader, or the empty string.

    Its age is taken against the API server's own Date header, so our clock does not matter.
    """
    if answer.status == 404:
        return "there is no Lease: it has never led"
    if answer.status != 200:
        return f"its Lease cannot be read: {answer.reason}"
    seconds = age(answer)
    if seconds is None:
        return "its Lease has no renew time"
    if seconds > duration(answer):
        return f"its Lease was last renewed {seconds:.0f} s ago by {holder(answer) or 'nobody'}"
    return ""


def duration(answer: Fetched) -> float:
    """Seconds after which others may take the Lease, as it says itself."""
    seconds = _spec(answer).get("leaseDurationSeconds")
    return float(seconds) if isinstance(seconds, int | float) else DURATION


def age(answer: Fetched) -> float | None:
    """Seconds since the last renewal; the Date header has whole seconds, so about 1 s coarse."""
    try:
        renewed = datetime.fromisoformat(str(_spec(answer)["renewTime"]))
        now = parsedate_to_datetime(answer.date)
    except (ValueError, KeyError, TypeError):
        return None
    return max(0.0, (now.astimezone(UTC) - renewed.astimezone(UTC)).total_seconds())


def _spec(answer: Fetched) -> dict[str, Any]:
    try:
        spec = json.loads(answer.body)["spec"]
    except (ValueError, KeyError, TypeError):
        return {}
    return spec if isinstance(spec, dict) else {}
