"""Clients that really connect, over a real sshd, to a real TLS server."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from api_server import ApiServer, Authority
from loopback import Sshd
from test_failures import children

from kubeha.errors import HostError
from kubeha.history import History, summarise
from kubeha.host import connect
from kubeha.remote import Load, SampleRequest
from kubeha.sampling import background, read_credentials, sampling


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ApiServer]:
    with ApiServer(tmp_path).running() as running:
        yield running


def request(server: ApiServer, *loads: Load, duration: float = 1.0) -> SampleRequest:
    return SampleRequest("127.0.0.1", server.port, server.credentials(), loads, duration)


def sample(sshd: Sshd, what: SampleRequest) -> History:
    cluster = sshd.cluster()

    async def main() -> History:
        async with connect(cluster, cluster.control_plane[0]) as host:
            return await host.sample(what)

    return asyncio.run(main())


def outcomes(seen: History, kind: str) -> set[str]:
    return {attempt.outcome for attempt in seen.of(kind)}


def test_a_healthy_server_satisfies_every_kind_of_client(sshd: Sshd, server: ApiServer) -> None:
    loads = [
        Load("version", rate=20),
        Load("read", rate=10),
        Load("stream", connections=3, interval=0.2),
        Load("watch"),
    ]
    before = time.time()
    seen = sample(sshd, request(server, *loads, duration=1.5))
    assert seen.failures == ()
    assert len(seen.of("version")) == 30 and len(seen.of("read")) == 15
    assert {one.connection for one in seen.of("stream")} == {0, 1, 2}
    assert len(seen.of("stream")) > 12
    (watch,) = seen.of("watch")
    assert 1.3 < watch.seconds < 3
    assert before - 0.1 < seen.attempts[0].start < seen.attempts[-1].end < time.time() + 0.1
    assert {one.source for one in seen.attempts} == {"m1"}


def test_a_token_reads_as_a_certificate_does(sshd: Sshd, server: ApiServer) -> None:
    what = replace(request(server, Load("read")), credentials=server.credentials(token=True))
    assert outcomes(sample(sshd, what), "read") == {"ok"}
    anonymous = replace(what.credentials, token=None)
    seen = sample(sshd, replace(what, credentials=anonymous))
    assert outcomes(seen, "read") == {"http-401"}


def test_nobody_listens(sshd: Sshd, server: ApiServer) -> None:
    what = replace(request(server, Load("version"), Load("stream"), Load("watch")), port=1)
    seen = sample(sshd, what)
    assert seen.kinds == ("stream", "version", "watch")
    assert {one.outcome for one in seen.attempts} == {"refused"}
    assert not any(one.broken for one in seen.attempts)


def test_clients_that_hang_hold_up_no_other(sshd: Sshd, server: ApiServer) -> None:
    server.mood = "hang"
    seen = sample(sshd, request(server, Load("version", rate=10, timeout=2.0)))
    assert outcomes(seen, "version") == {"timeout"}
    starts = [one.start for one in seen.of("version")]
    assert len(starts) == 10 and starts[-1] - starts[0] < 1.5
    assert all(1.9 < one.seconds < 3 for one in seen.of("version"))


def test_an_answer_other_than_200_is_a_failure(sshd: Sshd, server: ApiServer) -> None:
    server.mood = "http-503"
    seen = sample(sshd, request(server, Load("version"), Load("watch")))
    assert outcomes(seen, "version") == outcomes(seen, "watch") == {"http-503"}


def test_a_server_of_another_authority_or_name_is_not_believed(
    sshd: Sshd, server: ApiServer
) -> None:
    what = request(server, Load("version"))
    stranger = replace(what.credentials, ca=Authority().pem)
    seen = sample(sshd, replace(what, credentials=stranger))
    assert outcomes(seen, "version") == {"tls"}
    seen = sample(sshd, replace(what, server_name="198.51.100.10"))
    assert outcomes(seen, "version") == {"tls"}
    assert "198.51.100.10" in seen.attempts[0].detail


def test_broken_connections_are_counted_and_opened_again(sshd: Sshd, server: ApiServer) -> None:
    loads = [Load("stream", connections=4, interval=0.1), Load("watch", connections=2)]
    cluster = sshd.cluster()
    with background(
        cluster, cluster.control_plane, request(server, *loads, duration=60)
    ) as recorder:
        time.sleep(1.5)
        fault = time.time()
        server.cut()
        time.sleep(1.5)
    figures = summarise(recorder.history, fault).kinds
    assert figures["stream"].broken == 4 and figures["watch"].broken == 2
    first = figures["stream"].first_success
    assert first is not None and first < 1.4
    # Each was opened again, and lived until we stopped.
    assert sum(one.ok for one in recorder.history.of("watch")) == 2


def test_silence_is_as_long_as_the_outage(sshd: Sshd, server: ApiServer) -> None:
    cluster = sshd.cluster()
    loads = [Load("version", rate=20, timeout=0.5)]
    with background(
        cluster, cluster.control_plane, request(server, *loads, duration=60)
    ) as recorder:
        time.sleep(0.5)
        server.mood = "hang"
        time.sleep(1.0)
        server.mood = "ok"
        time.sleep(0.7)
    silence = summarise(recorder.history).kinds["version"].silence
    assert silence is not None and 0.9 < silence.seconds < 1.6


def test_sampling_that_is_left_by_an_error_stops_the_clients(sshd: Sshd, server: ApiServer) -> None:
    cluster = sshd.cluster()

    async def main() -> None:
        async with connect(cluster, cluster.control_plane[0]) as host:
            what = request(server, Load("version", rate=50), duration=60)
            async with sampling([host], what):
                raise RuntimeError("the drill failed")

    with pytest.raises(RuntimeError, match="the drill failed"):
        asyncio.run(main())
    time.sleep(1.0)
    asked = len(server.requests)
    time.sleep(0.5)
    assert len(server.requests) == asked


def test_background_left_by_ctrl_c_stops_at_once(sshd: Sshd, server: ApiServer) -> None:
    """Though clients under way would have waited for a minute."""
    server.mood = "hang"
    cluster = sshd.cluster()
    what = request(server, Load("version", timeout=60), duration=60)
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        with background(cluster, cluster.control_plane, what):
            raise KeyboardInterrupt
    assert time.monotonic() - begin < 10
    time.sleep(1.0)
    asked = len(server.requests)
    time.sleep(0.5)
    assert len(server.requests) == asked


def test_clients_that_are_lost_are_an_error_at_the_end(
    make_sshd: Callable[..., Sshd], server: ApiServer
) -> None:
    sshd = make_sshd()
    cluster = sshd.cluster()
    body_went_on = False
    with pytest.raises(HostError, match="m1: the connection was lost in the middle"):
        with background(cluster, cluster.control_plane, request(server, Load("version"))):
            for child in children(sshd.process.pid):
                os.kill(child, signal.SIGKILL)
            time.sleep(0.5)
            body_went_on = True
    assert body_went_on


def test_limits_are_kept(sshd: Sshd, server: ApiServer) -> None:
    few = replace(request(server, Load("version", rate=50), duration=60), limit=7)
    assert len(sample(sshd, few).attempts) == 7
    with pytest.raises(HostError, match="m1: rate: not within 0 to 200"):
        sample(sshd, request(server, Load("version", rate=201)))
    with pytest.raises(HostError, match="m1: duration: not within 0 to 3600 s"):
        sample(sshd, request(server, Load("version"), duration=3601))


def test_background_tells_why_it_could_not_start(sshd: Sshd, server: ApiServer) -> None:
    sshd.configure("Port 1")
    sshd.config.write_text(sshd.config.read_text().replace(f"Port {sshd.port}", "Port 1"))
    cluster = sshd.cluster()
    with pytest.raises(HostError, match="connection refused by 127.0.0.1 port 1"):
        with background(cluster, cluster.control_plane, request(server, Load("version"))):
            raise AssertionError("never begun")


def test_credentials_come_from_the_kubeconfig_of_the_node(
    sshd: Sshd, server: ApiServer, tmp_path: Path
) -> None:
    who = server.credentials()
    assert who.certificate is not None and who.key is not None
    for name, text in (("ca", who.ca), ("crt", who.certificate), ("key", who.key)):
        (tmp_path / name).write_text(text)
    (tmp_path / "kubeconfig").write_text(f"""
current-context: it
contexts: [{{name: it, context: {{cluster: here, user: me}}}}]
clusters: [{{name: here, cluster: {{certificate-authority: {tmp_path}/ca}}}}]
users: [{{name: me, user: {{client-certificate: {tmp_path}/crt, client-key: {tmp_path}/key}}}}]
""")
    cluster = sshd.cluster()

    async def main() -> None:
        async with connect(cluster, cluster.control_plane[0]) as host:
            assert await read_credentials(host, str(tmp_path / "kubeconfig")) == who
            with pytest.raises(HostError, match=f"m1: {tmp_path}/none: no such file"):
                await read_credentials(host, str(tmp_path / "none"))

    asyncio.run(main())
