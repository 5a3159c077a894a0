"""Rules on what is left over from the file that comes with keepalived."""

from kubeha.checks import finding as kinds
from kubeha.grammar.keepalived import Statement
from kubeha.lint.keepalived_subject import Found, Subject, statement_at, tell

# doc/samples/keepalived.conf.sample, which distributions install as keepalived.conf.
SAMPLE_SERVERS = frozenset(("192.168.200.100", "10.10.10.2", "10.10.10.3"))
SAMPLE_VIPS = frozenset(("192.168.200.16", "192.168.200.17", "192.168.200.18"))
SAMPLE_DOMAINS = ("@firewall.loc", "@example.com", "@example.org", "@domain.com", "@localhost")


def mail(subject: Subject) -> Found:
    """Mail is sent at every change of state wherever smtp_alert is on."""
    for block in subject.parsed.all("global_defs"):
        for addresses in block.all("notification_email"):
            left = [s for s in addresses.block or () if _sample(s)]
            if left:
                yield tell(
                    kinds.SAMPLE_MAIL,
                    left[0],
                    f"{', '.join(s.keyword for s in left)} are nobody's addresses",
                    "remove notification_email, notification_email_from and smtp_server, or write"
                    " addresses of yours",
                )


def _sample(statement: Statement) -> bool:
    return any(word.lower().rstrip(">").endswith(SAMPLE_DOMAINS) for word in statement.words)


def services(subject: Subject) -> Found:
    """The sample's virtual servers make the kernel forward connections to strangers."""
    for server in subject.parsed.all("virtual_server"):
        if server.word() in SAMPLE_SERVERS:
            yield tell(
                kinds.SAMPLE_SERVICE,
                server,
                f"the sample's virtual server {server.word()} is set up in the kernel and its"
                " made-up servers are asked for ever",
                "remove the whole virtual_server block",
            )
    for router in subject.routers:
        for vip in router.vips:
            if str(vip.address) in SAMPLE_VIPS:
                where = statement_at(router, vip.place)
                yield tell(
                    kinds.SAMPLE_SERVICE,
                    where,
                    f"{vip.address} is a VIP of the sample file",
                    "remove the line, or write your own VIP",
                )


RULES = (mail, services)
