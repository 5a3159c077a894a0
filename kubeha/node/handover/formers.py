"""Former holders: who is one, for how long, and when it is over."""

from typing import Dict, Optional

from kubeha.node.handover.terms import LEAST, PREPARED, SILENCE, Json


def merged(formers: Json, asked: Json, at: float, prepared: float = PREPARED) -> Json:
    """Former holders known so far and those of a request, as {name: {id, address, until, ...}}.

    The same move asked for again changes nothing; a later move of the same node begins anew.
    """
    result = {name: one for name, one in formers.items() if one["until"] > at}
    for name, one in asked.items():
        known = formers.get(name)
        if known is None or known["id"] != one["id"]:
            # Counted anew from the moment when the VIP goes; until then there is time to prepare.
            until = at + prepared + one["seconds"]
            new = {"id": one["id"], "address": one["address"], "until": until}
            result[name] = dict(new, since=at, seconds=one["seconds"])
    return result


def why_over(
    state: Json,
    holding: Optional[bool],
    count: Optional[int],
    at: float,
    prepared: float = PREPARED,
    others: bool = False,
) -> Optional[str]:
    """Why this former holder has nothing more to do, or None. `state` is its own entry.

    `others`: there are other former holders. Then one that has the VIP again stays one of them.
    """
    if at >= state["until"]:
        return "deadline"
    left = state.get("left")
    if left is None:
        return "stayed" if holding and at > state["since"] + prepared else None
    if holding:
        return None if others else "returned"
    return "ended" if count == 0 and at > left + LEAST else None


def longest(request: Json) -> float:
    """For how long the service has something to do for this request, at the most."""
    patience = request.get("prepared", PREPARED)
    ends = [one["seconds"] + patience for one in request["formers"].values()]
    return float(max([*ends, request.get("aside", 0), 30.0]))


def speaking(formers: Json, heard: Dict[str, float], me: str, at: float) -> Json:
    """Former holders without those that have fallen silent; never heard yet is not silent."""
    return {
        name: one
        for name, one in formers.items()
        if name == me or at <= heard.get(name, at) + SILENCE
    }


def believable(rest: float, seconds: float, prepared: float = PREPARED) -> bool:
    """Could a former holder of a move with this deadline go on for so long? NaN could not."""
    return 0.0 <= rest <= seconds + max(prepared, PREPARED)
