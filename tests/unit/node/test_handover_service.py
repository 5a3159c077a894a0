"""What the service of a planned move remembers of the other nodes."""

import json
from pathlib import Path

import pytest
from former_holders import REQUEST, entry, keep_files_in

from kubeha.node.handover import files
from kubeha.node.handover.formers import speaking
from kubeha.node.handover.kernel import now
from kubeha.node.handover.service import Service


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_files_in(tmp_path, monkeypatch)


@pytest.mark.parametrize(("silent", "known"), [(5.0, True), (25.0, False)])
def test_who_speaks_again_soon_is_still_known(silent: float, known: bool) -> None:
    """A busy machine is not a dead one: of several, the others would drop its packets for good."""
    service = Service()
    service.request = {**REQUEST, "me": "m2"}
    at = now()
    service.formers = {"m1": {**entry(1), "until": at + 600.0}}
    service.heard = {"m1": at - silent}
    service.forget_the_dead()
    assert speaking(service.formers, service.heard, "m2", at) == {}
    assert ("m1" in service.formers) is known
    if known:
        service.heard["m1"] = now()
        assert "m1" in speaking(service.formers, service.heard, "m2", now())


def test_the_silence_of_an_earlier_move_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    request = {**REQUEST, "me": "m2", "generation": 7, "formers": {"m1": entry(1, move="b")}}
    Path(files.REQUEST).write_text(json.dumps(request))
    monkeypatch.setattr(Service, "listen", lambda self: None)
    service = Service()
    service.heard = {"m1": now() - 60.0}
    service.read_request()
    service.forget_the_dead()
    assert "m1" in speaking(service.formers, service.heard, "m2", now())
