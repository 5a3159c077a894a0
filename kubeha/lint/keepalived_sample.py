"""Rules on what is left over from the file that comes with keepalived."""

from kubeha.checks import finding as kinds
from kubeha.grammar.keepalived import Statement
from kubeha.lint.keepalived_subject import Found, Subject, tell

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
    servers = [s for s in subject.parsed.all("virtual_server") if s.word() in SAMPLE_SERVERS]
    if servers:
        names = ", ".join(server.word() or "" for server in servers)
        yield tell(
            kinds.SAMPLE_SERVICE,
            servers[0],
            f"the sample's virtual servers ({names}) are set up in the kernel, and their made-up"
            " servers are asked for ever",
            f"remove the virtual_server block{'s' if len(servers) > 1 else ''} of line"
            f" {', '.join(str(server.place.line) for server in servers)}",
        )
    for router in subject.routers:
        left = [vip for vip in router.vips if str(vip.address) in SAMPLE_VIPS]
        if left:
            yield tell(
                kinds.SAMPLE_SERVICE,
                left[0].statement,
                f"the sample's VIPs ({', '.join(str(vip.address) for vip in left)})",
                "write your own VIP in their place",
            )


RULES = (mail, services)
