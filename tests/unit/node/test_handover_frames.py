"""What former holders say on the wire: written, read, and never trusted. Pure."""

import pytest

from kubeha.node.handover.frames import MAGIC, frame, read_frame


def test_a_frame_is_heard_by_those_of_the_same_vip_only() -> None:
    data = frame(b"\x02" * 6, "198.51.100.10", "m1", "a", rest=4.5)
    assert len(data) >= 60
    assert read_frame(data, "198.51.100.10") == ("m1", "a", 4.5)
    assert read_frame(data, "198.51.100.99") is None
    assert read_frame(data[:40], "198.51.100.10") is None
    assert read_frame(b"\0" * 60, "198.51.100.10") is None


@pytest.mark.parametrize("rest", ["1" + "0" * 400, "[" * 1200, '"soon"', "null"])
def test_a_frame_that_makes_no_sense_is_no_frame(rest: str) -> None:
    said = f'{{"vip": "198.51.100.10", "name": "m1", "id": "a", "rest": {rest}}}'
    assert read_frame(b"\0" * 14 + MAGIC + said.encode(), "198.51.100.10") is None
