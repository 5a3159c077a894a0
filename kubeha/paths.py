"""Where kubeha's files are on a load balancer node. The only place that knows."""

# Files that apply writes.
HAPROXY_CONFIG = "/etc/haproxy/haproxy.cfg"
CA_FILE = "/etc/haproxy/kube-ca.pem"
KEEPALIVED_CONFIG = "/etc/keepalived/keepalived.conf"
HAPROXY_DROP_IN = "/etc/systemd/system/haproxy.service.d/10-kubeha.conf"
KEEPALIVED_DROP_IN = "/etc/systemd/system/keepalived.service.d/10-kubeha.conf"
KEEPALIVED_ENV = "/etc/kubeha/keepalived.env"
TMPFILES = "/etc/tmpfiles.d/kubeha.conf"
# Not below /usr/local: Debian let group staff write there before 10, and an upgrade left it so, but
# keepalived runs no script that anybody but root may replace.
ADMIN_SCRIPT = "/etc/kubeha/haproxy-admin"
HOLDER_SCRIPT = "/etc/kubeha/holder"
HANDOVER_PROGRAM = "/etc/kubeha/handover"
NODE_SETTINGS = "/etc/kubeha/node.json"
GUARD_PROGRAM = "/etc/kubeha/guard"
GUARD_UNIT = "/etc/systemd/system/kubeha-guard.service"
WRITTEN = (
    HAPROXY_CONFIG,
    CA_FILE,
    KEEPALIVED_CONFIG,
    HAPROXY_DROP_IN,
    KEEPALIVED_DROP_IN,
    KEEPALIVED_ENV,
    TMPFILES,
    ADMIN_SCRIPT,
    HOLDER_SCRIPT,
    HANDOVER_PROGRAM,
    NODE_SETTINGS,
    GUARD_PROGRAM,
    GUARD_UNIT,
)

# What apply notes for the next apply: digests of the files that the services were last given, and
# copies of foreign files that were replaced, under their own paths.
APPLIED = "/var/lib/kubeha/applied"
KEPT = "/var/lib/kubeha/kept"
# Where new settings wait for their program's judgement.
STAGE = "/run/kubeha-stage"

# State that the node itself keeps; DRAIN_FILE survives a reboot.
RUN_DIRECTORY = "/run/kubeha"
HAPROXY_FILE = "/run/kubeha/haproxy"
HOLDER_FILE = "/run/kubeha/holder"
FRESH_FILE = "/run/kubeha/fresh"
ASIDE_FILE = "/run/kubeha/aside"
GUARD_FILE = "/run/kubeha/guard"
# Why the guard keeps the VIP away from this node, in JSON.
GUARD_STATE = "/run/kubeha/guard.json"
# Of nftables, family inet: there for a moment after it made this node step down.
GUARD_TABLE = "kubeha_guard"
SERVER_STATE_FILE = "/run/kubeha/servers"
DRAIN_FILE = "/etc/kubeha/drain"
# What node/handover does now, in JSON; not there while it does nothing.
HANDOVER_JOURNAL = "/run/kubeha/handover.json"
MADE_BY_TMPFILES = (
    HAPROXY_FILE,
    HOLDER_FILE,
    FRESH_FILE,
    ASIDE_FILE,
    GUARD_FILE,
    SERVER_STATE_FILE,
    DRAIN_FILE,
)

# Made by HAProxy and keepalived.
ADMIN_SOCKET = "/run/haproxy/admin.sock"
KEEPALIVED_JSON = "/run/keepalived/keepalived.json"
