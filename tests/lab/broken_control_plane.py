"""A running lab's control plane, broken on purpose and healed again."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from certificates import Wanted, issued
from running_lab import RunningLab, wait_for

from kubeha.lab.control_plane import Site, site, stop_control_plane
from kubeha.lab.pki import NodeNames, server_names

NODES = ("m1", "m2", "m3")
CERTIFICATE = "etc/kubernetes/pki/apiserver.crt"
KEY = "etc/kubernetes/pki/apiserver.key"
ETCD_CLIENT = "/etc/kubernetes/pki/etcd/healthcheck-client"


@dataclass(frozen=True)
class ControlPlane:
    """The control plane of a running lab."""

    lab: RunningLab

    @property
    def site(self) -> Site:
        return site(self.lab.lab)

    @property
    def names(self) -> tuple[str, ...]:
        """What a right certificate names."""
        nodes = [NodeNames(one.name, (one.address, one.address6)) for one in self.lab.machines]
        return server_names(self.site.endpoint, nodes)

    def found(self, verb: str) -> set[tuple[str, str]]:
        """(code, node) of every finding of `kubeha check` or `kubeha verify`."""
        done = self.lab.kubeha(verb, "-o", "json")
        assert done.stdout, done.stderr
        return {(each["code"], each["node"]) for each in json.loads(done.stdout)["findings"]}

    def finds(self, verb: str, *wanted: tuple[str, str], timeout: float = 300) -> None:
        """Wait until the findings are exactly these: what was broken takes its time to show."""

        def look() -> bool:
            seen[:] = [self.found(verb)]
            return seen[0] == set(wanted)

        seen: list[set[tuple[str, str]]] = []
        try:
            wait_for("", look, timeout=timeout)
        except AssertionError:
            raise AssertionError(f"{verb} wants {sorted(wanted)}, finds {seen}") from None

    def restart(self, name: str, *units: str) -> None:
        """Start the units anew, without waiting for their connections to end."""
        if not units:
            return
        machine = self.lab.machine(name)
        machine.execute(["systemctl", "daemon-reload"])
        machine.execute(["systemctl", "kill", "--signal=KILL", *units], check=False)
        machine.execute(["systemctl", "restart", *units], timeout=90)

    def shown(self, name: str) -> str:
        """The certificate that a machine's API server shows, as PEM; empty if it does not."""
        ask = (
            "import ssl, sys\n"
            "try: print(ssl.get_server_certificate((sys.argv[1], 6443)))\n"
            "except OSError: pass"
        )
        machine = self.lab.machine(name)
        done = machine.execute(["python3", "-c", ask, machine.address], check=False)
        return done.stdout.strip()

    def ready(self, name: str) -> bool:
        """Does its API server answer /readyz, whatever its certificate?"""
        ask = (
            "import ssl, sys, urllib.request as r\n"
            "context = ssl._create_unverified_context()\n"
            "try: print(r.urlopen(sys.argv[1], context=context, timeout=3).status)\n"
            "except r.HTTPError as error: print(error.code)\n"
            "except OSError: pass"
        )
        machine = self.lab.machine(name)
        url = "https://127.0.0.1:6443/readyz"
        done = machine.execute(["python3", "-c", ask, url], check=False)
        return done.stdout.strip() in ("200", "401")

    def wait_until_ready(self, *names: str) -> None:
        for name in names or NODES:
            ready = partial(self.ready, name)
            wait_for(f"{name}'s API server is ready", ready, timeout=240, every=0.5)

    @contextmanager
    def serving(self, wanted: Mapping[str, Wanted]) -> Iterator[None]:
        """While the body runs, API servers show these certificates: node -> certificate."""
        fresh = {}
        for name, each in wanted.items():
            certificate, key = issued(each)
            fresh[name] = {CERTIFICATE: certificate.encode(), KEY: key.encode()}
        before = {name: self._read(name, (CERTIFICATE, KEY)) for name in wanted}
        try:
            self._serve(fresh)
            yield
        finally:
            self._serve(before)

    def _read(self, name: str, paths: Iterable[str]) -> dict[str, bytes]:
        return {path: (self.lab.machine(name).root / path).read_bytes() for path in paths}

    def _serve(self, files: Mapping[str, Mapping[str, bytes]]) -> None:
        """Put the files there, and wait until each API server shows them and is ready."""
        for name, mine in files.items():
            for path, content in mine.items():
                (self.lab.machine(name).root / path).write_bytes(content)
            self.restart(name, "kube-apiserver")
        for name, mine in files.items():
            pem = mine[CERTIFICATE].decode().strip()
            shows = partial(self._shows, name, pem)
            wait_for(f"{name} shows it", shows, timeout=240, every=0.5)
        self.wait_until_ready(*files)

    def _shows(self, name: str, pem: str) -> bool:
        return self.shown(name) == pem

    @contextmanager
    def changed(
        self, name: str, path: str, words: Mapping[str, str], *units: str
    ) -> Iterator[None]:
        """While the body runs, a file of a machine has other words, and units were restarted."""
        file = self.lab.machine(name).root / path.lstrip("/")
        before = after = file.read_text()
        for old, new in words.items():
            assert old in after, f"{path} on {name} has no {old}"
            after = after.replace(old, new)
        try:
            file.write_text(after)
            self.restart(name, *units)
            yield
        finally:
            file.write_text(before)
            self.restart(name, *units)

    @contextmanager
    def stopped(self, name: str, unit: str) -> Iterator[None]:
        machine = self.lab.machine(name)
        try:
            machine.execute(["systemctl", "stop", unit], timeout=90)
            yield
        finally:
            machine.execute(["systemctl", "start", unit], timeout=90)

    @contextmanager
    def without(self, name: str, path: str) -> Iterator[None]:
        """While the body runs, a file of a machine is somewhere else."""
        file: Path = self.lab.machine(name).root / path.lstrip("/")
        aside = file.with_name(f"{file.name}.aside")
        file.rename(aside)
        try:
            yield
        finally:
            aside.rename(file)

    def etcdctl(self, name: str, *arguments: str) -> str:
        """What etcdctl prints on a machine."""
        options = [
            "--endpoints=https://127.0.0.1:2379",
            "--cacert=/etc/kubernetes/pki/etcd/ca.crt",
            f"--cert={ETCD_CLIENT}.crt",
            f"--key={ETCD_CLIENT}.key",
        ]
        command = ["env", "ETCDCTL_API=3", "etcdctl", *options, *arguments]
        return self.lab.machine(name).execute(command, timeout=30).stdout

    def etcd_post(self, name: str, path: str, body: dict[str, object]) -> None:
        """A request to etcd's JSON gateway on a machine."""
        ask = (
            "import ssl, sys, urllib.request as r\n"
            "context = ssl.create_default_context(cafile='/etc/kubernetes/pki/etcd/ca.crt')\n"
            f"context.load_cert_chain('{ETCD_CLIENT}.crt', '{ETCD_CLIENT}.key')\n"
            "r.urlopen('https://127.0.0.1:2379' + sys.argv[1], sys.argv[2].encode(),"
            " context=context, timeout=10)"
        )
        self.lab.machine(name).execute(["python3", "-c", ask, path, json.dumps(body)])

    def member_id(self, member: str) -> str:
        """The id of an etcd member, in hexadecimal as etcdctl takes it."""
        listed = json.loads(self.etcdctl("m1", "member", "list", "-w", "json"))["members"]
        return next(f"{one['ID']:x}" for one in listed if one.get("name") == member)

    def join_again(self, *names: str) -> None:
        """Machines whose etcd members were removed join as new ones."""
        for name in names:
            stop_control_plane(self.lab.machine(name), forget=True)
        self.lab("kubernetes", *names)
