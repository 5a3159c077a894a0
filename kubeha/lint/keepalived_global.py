"""Rules on global_defs: settings that do harm, and those that are missing."""

from kubeha.checks import finding as kinds
from kubeha.checks.finding import Severity
from kubeha.grammar.keepalived import Statement, script_words
from kubeha.grammar.virtual_router import NOTIFY, decimal, flag, whole
from kubeha.lint.keepalived_subject import Found, Subject, setting, tell

BROKEN_DELAY = ((2, 2, 0), (2, 2, 8))


def rt_priority(subject: Subject) -> Found:
    """Real-time scheduling comes with a limit of 10 ms of CPU time, and SIGKILL beyond it."""
    parsed = subject.parsed
    priority = parsed.global_setting("vrrp_rt_priority")
    if priority and not parsed.global_setting("vrrp_rlimit_rttime", "vrrp_rlimit_rtime"):
        yield tell(
            kinds.RT_WITHOUT_LIMIT,
            priority,
            "the kernel kills keepalived's VRRP process as soon as it works for 10 ms at a stretch:"
            " the VIP is left behind",
            "add below it: vrrp_rlimit_rttime 1000000",
        )


def startup_delay(subject: Subject) -> Found:
    """Every advert that arrives during the delay prolongs it."""
    delay = subject.parsed.global_setting("vrrp_startup_delay")
    first, fixed = BROKEN_DELAY
    version = subject.version
    if delay is None or not decimal(delay.word()) or (version and not first <= version < fixed):
        return
    known = ".".join(map(str, version)) if version else "2.2.0 to 2.2.7 (Debian 12, Ubuntu 22.04)"
    yield tell(
        kinds.STARTUP_DELAY,
        delay,
        f"keepalived {known} counts the delay anew at every advert: a returning node stays out for"
        " many times as long",
        f"remove it; in each vrrp_instance with state BACKUP: preempt_delay {delay.word()}",
        severity=None if version else Severity.WARNING,
    )


def strict(subject: Subject) -> Found:
    """Strict RFC mode: only an address owner accepts packets for the VIP; no unicast."""
    places = [subject.parsed.global_setting("vrrp_strict")]
    places += [setting(router, "strict_mode") for router in subject.routers]
    for found in places:
        if found and flag(found):
            unicast = any(router.unicast for router in subject.routers)
            yield tell(
                kinds.STRICT,
                found,
                "the holder's firewall drops whatever is sent to the VIP"
                + ("; unicast is refused as well" if unicast else ""),
                "remove the line (no load balancer works behind it)",
            )


def scripts_user(subject: Subject) -> Found:
    """Without script_user: keepalived_script if there is such a user, else root."""
    runs = _runs(subject)
    if not runs or subject.parsed.global_setting("script_user"):
        return
    for found in runs:
        words = script_words(found)
        own_user = found.keyword == "vrrp_script" and found.last("user")
        if not own_user and not (found.keyword in NOTIFY and len(words) > 2 and not _quoted(found)):
            yield tell(
                kinds.SCRIPT_USER,
                found,
                "it runs as keepalived_script where that user exists, and as root elsewhere",
                f"in {subject.global_place}: script_user USER, an ordinary user that may do what"
                " the scripts do; root only with enable_script_security",
            )
            return


def scripts_security(subject: Subject) -> Found:
    """A script that runs as root and that others may write is a way to root."""
    runs = _runs(subject)
    user = subject.parsed.global_setting("script_user")
    ordinary = user is not None and user.word() not in (None, "root")
    if not runs or ordinary or subject.parsed.global_setting("enable_script_security"):
        return
    yield tell(
        kinds.SCRIPT_SECURITY,
        runs[0],
        "keepalived runs it as root without asking who else may write the script or its directory",
        f"in {subject.global_place}: enable_script_security",
    )


def _runs(subject: Subject) -> list[Statement]:
    """What runs programs: scripts with a command, notify statements of instances and groups."""
    groups = subject.parsed.all("vrrp_sync_group", "vrrp_instance")
    return [s for s in subject.scripts if s.last("script")] + [
        each for group in groups for each in group.all(*NOTIFY)
    ]


def _quoted(statement: Statement) -> bool:
    """notify "PROGRAM ARGUMENTS" is one word; notify PROGRAM USER GROUP names a user."""
    return len(statement.words) == 2


def stale_arp(subject: Subject) -> Found:
    """After a freeze of the holder, or of a switch, nobody announces the VIP again."""
    general = subject.parsed.global_setting("vrrp_garp_master_refresh")
    if general and whole(general.word(), 1, 2**31):
        return
    for router in subject.routers:
        own = setting(router, "garp_master_refresh")
        if not router.vips or (own and whole(own.word(), 1, 2**31)):
            continue
        yield tell(
            kinds.NO_GARP_REFRESH,
            router.statement,
            "the holder announces the VIP at takeover only: after a paused or cloned machine has"
            " come back, neighbours may send to the wrong one until their ARP entry ends",
            f"in {subject.global_place}: vrrp_garp_master_refresh 10,"
            " vrrp_garp_master_refresh_repeat 1, vrrp_higher_prio_send_advert true",
        )
        return


RULES = (rt_priority, startup_delay, strict, scripts_user, scripts_security, stale_arp)
