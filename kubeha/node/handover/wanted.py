"""What has to be so on a node: settings, an address, a packet filter."""

from typing import List

from kubeha.node.handover.terms import Json

TABLE = "kubeha_handover"
# Of the two in which DSCP leaves room for local use, the one that nobody is known to use.
MARK = 61


def wanted(request: Json, me: str, formers: Json, home: bool = False) -> Json:
    """Acts for a node: sysctls (path -> least value), an address on lo, a ruleset or None.

    `home`: the VIP has come back to this former holder. The others' own clients may still have
    connections to it, so they go on passing packets to it.
    """
    v6 = ":" in request["vip"]
    others = [formers[name]["address"] for name in sorted(formers) if name != me]
    sysctls = {}
    if me in formers and not home and not v6:
        sysctls["/proc/sys/net/ipv4/conf/all/arp_ignore"] = 1
        sysctls["/proc/sys/net/ipv4/conf/all/arp_announce"] = 2
    if others and not v6:
        card = "/proc/sys/net/ipv4/conf/%s/" % request["interface"]
        sysctls[card + "accept_local"] = 1
        if me in formers and not home:
            # What comes from the VIP comes from an address on lo: not where it would be sent.
            sysctls[card + "rp_filter"] = 2
    rules = ruleset(request, others) if others else None
    return {"sysctls": sysctls, "address": me in formers and not home, "rules": rules}


def ruleset(request: Json, others: List[str]) -> str:
    """Replaces our table as a whole: nft carries out a file at once or not at all."""
    family = "ip6" if ":" in request["vip"] else "ip"
    unknown = (
        "%s daddr %s tcp dport %d tcp flags & (syn | ack) != syn socket wildcard 1 %s dscp"
        % (family, request["vip"], request["port"], family)
    )
    copies = " ".join('dup to %s device "%s"' % (each, request["interface"]) for each in others)
    lines = ["%s != %d %s dscp set %d counter %s drop" % (unknown, MARK, family, MARK, copies)]
    # Somebody else may know it, and a RST from here would end it.
    lines.append("%s %d counter drop" % (unknown, MARK))
    return (
        "add table {f} {t}\ndelete table {f} {t}\ntable {f} {t} {{\n"
        "  chain pre {{\n    type filter hook prerouting priority -150; policy accept;\n"
        "    {rules}\n  }}\n}}\n"
    ).format(f=family, t=TABLE, rules="\n    ".join(lines))
