"""Each rule on keepalived.conf: what it finds, where, and what it must let pass."""

import pytest
from keepalived_files import GOOD, changed, codes, lint

from kubeha.checks.finding import Severity

MULTICAST = (
    "    unicast_src_ip 198.51.100.11\n    unicast_peer {\n        198.51.100.12\n"
    "        198.51.100.13\n    }\n",
    "",
)
BY_ROOT = (("script_user nobody\n", ""), ("enable_script_security\n", ""))


def test_a_good_file_has_no_finding():
    assert lint(GOOD) == ()


def the(code: str, text: str, version: tuple[int, ...] | None = None):
    """The findings, which must all be of this code; and there must be one."""
    found = lint(text, version=version)
    assert {each.code for each in found} == {code}, found
    return found[0]


@pytest.mark.provokes("KH701")
@pytest.mark.parametrize(
    "change, line, message",
    [
        (("    virtual_ipaddress {\n", "    virtual_ipaddress\n"), 33, "needs a block in braces"),
        (('8443"', "8443"), 13, 'a " without its end'),
        (("    state BACKUP\n", "    state BACKUP {\n    }\n"), 20, "state takes no block"),
        (("}\n\nvrrp_script", "}\n}\nvrrp_script"), 11, "a closing brace that closes nothing"),
        (("    fall 2\n", "    fall \\\n  2\n"), 15, "a backslash at the end continues no line"),
        (("vrrp_script", "~SEQ(N, 3, -1, 9) x\nvrrp_script"), 12, "not a sequence"),
    ],
    ids=["no opening brace", "quote", "brace after a word", "too many", "backslash", "sequence"],
)
def test_what_cannot_be_read(change, line, message):
    broken = [each for each in lint(changed(change)) if each.code == "KH701"]
    assert broken[0].line == line and message in broken[0].message


@pytest.mark.provokes("KH701")
def test_a_missing_closing_brace_is_told_where_it_is_missed():
    second = "vrrp_instance web {\n interface eth0\n}\n"
    found = [f for f in lint(GOOD[: GOOD.rindex("}")] + second) if f.code == "KH701"]
    assert [(f.line, f.message) for f in found] == [
        (19, "vrrp_instance api { has no closing brace"),
        (36, "vrrp_instance web begins within vrrp_instance api of line 19: is a closing brace"
             " missing?"),
    ]  # fmt: skip


@pytest.mark.provokes("KH702")
def test_an_include_that_was_not_looked_at():
    found = the("KH702", "include conf.d/*.conf\n" + GOOD)
    assert found.line == 1 and found.severity is Severity.INFO


def test_an_include_that_was_looked_at():
    from kubeha.grammar.keepalived_lines import reader
    from kubeha.lint.keepalived import lint_keepalived, views

    read = reader({"m1/more.conf": GOOD})
    assert lint_keepalived(views("m1/keepalived.conf", "include more.conf\n", read)) == ()


@pytest.mark.provokes("KH703")
@pytest.mark.parametrize(
    "change, line, says",
    [
        (("    priority 200", "    prority 200"), 23, "write priority"),
        (("    interval 1", "    garp_master_delay 1"), 14, "move it into vrrp_instance"),
        (("    priority 200", "    vrrp_priority 200"), 23, "move it into global_defs, or write"),
        (("global_defs", "globals_def"), 1, "write global_defs"),
        (("    track_script {", "    track_scripts {"), 30, "write track_script"),
    ],
    ids=["misspelt", "elsewhere", "elsewhere and alike", "top level", "a whole block"],
)
def test_a_word_that_keepalived_does_not_know(change, line, says):
    found = [each for each in lint(changed(change)) if each.code == "KH703"]
    assert [each.line for each in found] == [line] and says in found[0].fix


def test_of_thousands_of_unknown_words_a_hundred_are_told():
    text = "vrrp_instance a {\n" + "virtual_router_idx 1\n" * 5000 + "}\n"
    assert codes(text).count("KH703") == 100


def test_words_of_the_other_releases_are_known():
    newer = changed(("router_id m1", "router_id m1\n    json_version 2"))
    assert codes(newer) == []


@pytest.mark.provokes("KH704")
def test_a_comment_sign_within_a_word():
    with_password = changed(
        ("vrrp_version 3", "vrrp_version 2"),
        ("    state BACKUP", "    authentication {\n    auth_type PASS\n    auth_pass K8s#x\n  }"),
        ("advert_int 0.2", "advert_int 1"),
    )
    found = [each for each in lint(with_password) if each.code == "KH704"]
    assert [each.line for each in found] == [22]
    assert "K8s" not in str(found) and "double quotes" in found[0].fix
    assert codes(with_password.replace("K8s#x", '"K8s#x"')) == ["KH713", "KH707"]
    assert "KH704" in codes(with_password.replace("K8s#x", "K8s\\#x"))
    assert the("KH704", changed(("priority 200", "priority 200!main"))).line == 23


def test_comments_that_are_comments():
    assert codes(changed(("priority 200", "priority 200 #main"), ("    }\n", "    }#end\n"))) == []
    assert codes(changed(("8443", "8443#x"))) == []


@pytest.mark.provokes("KH705")
@pytest.mark.parametrize(
    "change, line, message",
    [
        (("virtual_router_id 77", "virtual_router_id 256"), 22, "from 1 to 255"),
        (("    virtual_router_id 77\n", ""), 19, "from 1 to 255"),
        (("priority 200", "priority 0"), 23, "keepalived takes 100"),
        (("state BACKUP", "state master"), 20, "takes BACKUP"),
        (("advert_int 0.2", "advert_int 0.001"), 24, "0.01 to 40.95 s"),
        (("advert_int 0.2", "advert_int 0.015"), 24, "keepalived takes 0.02 s"),
        (("vrrp_version 3", "vrrp_version 2"), 24, "version 2 knows whole seconds only"),
        (("198.51.100.10/32 dev", "api.example/32 dev"), 34, "no address"),
        (("/32 dev eth0", "/32\n 2001:db8::10"), 35, "another address family"),
        (("weight -60", "weight -300"), 16, "from -253 to 253"),
        (("        check\n", "        check weight 254\n"), 31, "from -253 to 253"),
        (("    state BACKUP", "    version 4"), 20, "versions 2 and 3"),
    ],
    ids=["id", "no id", "priority", "state", "interval", "steps", "fraction", "vip", "family",
         "weight", "weight where tracked", "version"],
)  # fmt: skip
def test_a_value_that_keepalived_refuses(change, line, message):
    found = [each for each in lint(changed(change)) if each.code == "KH705"]
    assert found[0].line == line and message in found[0].message


@pytest.mark.provokes("KH705")
def test_multicast_needs_an_interface():
    text = changed(MULTICAST, ("    interface eth0\n", ""))
    assert "names no interface" in the("KH705", text).message
    assert codes(changed(("    interface eth0\n", ""))) == []


def test_values_at_their_limits():
    assert codes(changed(("virtual_router_id 77", "virtual_router_id 255"))) == []
    assert codes(changed(("advert_int 0.2", "advert_int 0.01"), ("-60", "-253"))) == []


@pytest.mark.provokes("KH706")
def test_dont_track_primary():
    found = the("KH706", changed(("    state BACKUP", "    state BACKUP\n    dont_track_primary")))
    assert (found.line, found.evidence) == (21, "dont_track_primary")


@pytest.mark.provokes("KH707")
@pytest.mark.parametrize(
    "change, seconds",
    [
        ([("advert_int 0.2", "advert_int 3")], "9 to 12 s"),
        ([("    advert_int 0.2\n", "")], "3 to 4 s"),
        ([("vrrp_version 3", "vrrp_version 2"), ("advert_int 0.2", "advert_int 2")], "6 to 7 s"),
    ],
    ids=["three seconds", "the default", "version 2"],
)
def test_an_interval_of_seconds(change, seconds):
    assert seconds in the("KH707", changed(*change)).message


def test_an_interval_below_a_second():
    assert codes(changed(("advert_int 0.2", "advert_int 0.99"))) == []


@pytest.mark.provokes("KH708")
def test_real_time_priority_without_its_limit():
    found = the("KH708", changed(("    vrrp_rlimit_rttime 1000000\n", "")))
    assert found.line == 7 and "vrrp_rlimit_rttime 1000000" in found.fix


def test_the_limits_old_spelling_counts():
    assert codes(changed(("vrrp_rlimit_rttime", "vrrp_rlimit_rtime"))) == []


@pytest.mark.provokes("KH709")
@pytest.mark.parametrize(
    "version, severity",
    [((2, 2, 0), "error"), ((2, 2, 7), "error"), (None, "warning")],
    ids=["first", "last", "unknown"],
)
def test_startup_delay(version, severity):
    found = the("KH709", changed(("startup_delay 0", "startup_delay 3")), version)
    assert found.severity.value == severity and "preempt_delay 3" in found.fix


@pytest.mark.parametrize("version", [(2, 1, 5), (2, 2, 8), (2, 3, 3)])
def test_startup_delay_where_it_works(version):
    assert codes(changed(("startup_delay 0", "startup_delay 3")), version=version) == []


@pytest.mark.provokes("KH710")
@pytest.mark.parametrize(
    "change",
    [("router_id m1", "vrrp_strict"), ("    state BACKUP", "    strict_mode on")],
    ids=["global", "instance"],
)
def test_strict(change):
    assert "unicast is refused" in the("KH710", changed(change)).message


def test_strict_mode_off():
    assert codes(changed(("    state BACKUP", "    strict_mode off"))) == []


@pytest.mark.provokes("KH711")
def test_the_subnets_prefix():
    found = the("KH711", changed(("100.10/32", "100.10/24")))
    assert found.line == 34 and "198.51.100.10/32 dev eth0" in found.fix


def test_no_prefix_is_a_hosts():
    assert codes(changed(("100.10/32", "100.10"))) == []


V2 = (("vrrp_version 3", "vrrp_version 2"), ("advert_int 0.2", "advert_int 1"))


def passworded(password: str) -> tuple[str, str]:
    block = f"    authentication {{\n    auth_type PASS\n    auth_pass {password}\n    }}"
    return ("    state BACKUP", block)


@pytest.mark.provokes("KH712")
def test_a_password_of_nine():
    found = lint(changed(*V2, passworded("secret_99")))
    assert [(f.code, f.line) for f in found] == [("KH713", 21), ("KH712", 22), ("KH707", 27)]
    assert "secret" not in str(found)


@pytest.mark.provokes("KH713")
def test_a_password_in_version_2_is_told_of_and_in_version_3_warned_of():
    assert codes(changed(*V2, passworded("eight_88"))) == ["KH713", "KH707"]
    assert lint(changed(*V2, passworded("eight_88")))[0].severity is Severity.INFO
    assert the("KH713", changed(passworded("eight_88"))).severity is Severity.WARNING


@pytest.mark.provokes("KH714")
@pytest.mark.parametrize("keyword", ["nopreempt", "preempt_delay 5"])
def test_master_switches_it_off(keyword):
    found = the("KH714", changed(("state BACKUP", f"state MASTER\n    {keyword}")))
    assert found.line == 21 and keyword.split()[0] in found.message


def test_preempt_delay_with_state_backup():
    assert codes(changed(("state BACKUP", "state BACKUP\n    preempt_delay 5"))) == []
    assert codes(changed(("state BACKUP", "state MASTER\n    nopreempt\n    preempt"))) == []


@pytest.mark.provokes("KH715")
def test_nopreempt_with_weights():
    assert the("KH715", changed(("state BACKUP", "nopreempt"))).line == 20


def test_nopreempt_with_fault():
    assert codes(changed(("state BACKUP", "nopreempt"), ("    weight -60\n", ""))) == []


@pytest.mark.provokes("KH716")
@pytest.mark.parametrize(
    "command",
    ["killall -0 haproxy", "/usr/bin/pgrep haproxy", "pidof haproxy", "systemctl is-active haproxy",
     "/bin/sh -c 'ps aux | grep [h]aproxy'", "/bin/kill -0 `cat /run/haproxy.pid`"],
)  # fmt: skip
def test_asking_for_a_process(command):
    text = changed(("/usr/local/bin/check-endpoint 8443", command))
    assert the("KH716", text).line == 13


def test_asking_the_service():
    text = changed(("/usr/local/bin/check-endpoint 8443", "/usr/bin/curl -k https://[::1]:8443/"))
    assert codes(text) == []
    assert codes(changed(("/usr/local/bin/check-endpoint 8443", "/opt/killall-0 haproxy"))) == []


@pytest.mark.provokes("KH717")
def test_nobody_says_as_whom():
    found = the("KH717", changed(("    script_user nobody\n", "")))
    assert found.evidence == "vrrp_script check"


def test_the_script_names_its_user():
    own = ("    interval 1", "    interval 1\n    user nobody")
    assert codes(changed(("    script_user nobody\n", ""), own)) == []


@pytest.mark.provokes("KH718")
def test_scripts_as_root_that_others_may_write():
    insecure = (("    enable_script_security\n", ""), ("script_user nobody", "script_user root"))
    assert the("KH718", changed(*insecure)).line == 11


def test_an_ordinary_user_needs_no_script_security():
    assert codes(changed(("    enable_script_security\n", ""))) == []


@pytest.mark.provokes("KH719")
def test_multicast_with_everybodys_id():
    assert the("KH719", changed(MULTICAST, ("router_id 77", "router_id 51"))).line == 22


def test_everybodys_id_with_unicast_and_an_own_one_with_multicast():
    assert codes(changed(("router_id 77", "router_id 51"))) == []
    assert codes(changed(MULTICAST)) == []


@pytest.mark.provokes("KH720")
def test_the_address_owner():
    assert "check has no effect" in the("KH720", changed(("priority 200", "priority 255"))).message
    unsaid = changed(("state BACKUP", "state MASTER"), ("    priority 200\n", ""))
    assert "without a priority is 255" in the("KH720", unsaid).message


def test_the_highest_priority_that_can_sink():
    assert codes(changed(("priority 200", "priority 254"))) == []


def twice(*changes: tuple[str, str]) -> str:
    """GOOD, and its instance once more with changes."""
    again = GOOD[GOOD.index("vrrp_instance") :]
    for old, new in changes:
        assert old in again, old
        again = again.replace(old, new)
    return GOOD + again


@pytest.mark.provokes("KH721")
@pytest.mark.parametrize(
    "change, says",
    [
        (("virtual_router_id 77", "virtual_router_id 78"), "the name of the instance of line 19"),
        (("instance api", "instance web"), "api and web both have virtual_router_id 77 on eth0"),
    ],
    ids=["same name", "same id"],
)
def test_two_instances_are_one(change, says):
    found = the("KH721", twice(change))
    assert found.line == 40 and says in found.message


def test_two_instances_are_two():
    both = [("instance api", "instance web"), ("100.10/32", "100.9/32")]
    assert codes(twice(*both, ("virtual_router_id 77", "virtual_router_id 78"))) == []
    assert codes(twice(*both, ("interface eth0", "interface eth1"), ("dev eth0", "dev eth1"))) == []
    others = [("100.12", "100.22"), ("100.13", "100.23")]
    assert codes(twice(*both, *others)) == []


def fleet(*changes: tuple[str, str]) -> list[str]:
    """Three nodes' files, of priority 200, 150 and 100."""
    nodes = [("200", "198.51.100.11"), ("150", "198.51.100.12"), ("100", "198.51.100.13")]
    texts = []
    for priority, address in nodes:
        mine = ("src_ip 198.51.100.11", f"src_ip {address}")
        peer = (f"        {address}\n", "        198.51.100.11\n")
        others = (mine, peer) if address != "198.51.100.11" else ()
        texts.append(changed(("priority 200", f"priority {priority}"), *others, *changes))
    return texts


@pytest.mark.provokes("KH722")
def test_a_weight_that_moves_nothing():
    found = lint(*fleet(("weight -60", "weight -50")))
    assert [(f.code, f.file, f.line) for f in found] == [
        ("KH722", "m1/keepalived.conf", 31),
        ("KH722", "m2/keepalived.conf", 31),
    ]
    assert "left with 150, and the next has 150" in found[0].message
    assert "weight -70" in found[0].fix


def test_a_weight_that_moves_the_vip():
    assert codes(*fleet()) == []
    assert codes(*fleet(("weight -60", "weight 60"))) == []
    assert codes(*fleet(("weight -60", "weight 0"))) == []


@pytest.mark.provokes("KH722")
def test_a_bonus_that_only_one_node_has():
    texts = fleet(("weight -60", "weight 0"))
    texts[0] = texts[0].replace("weight 0", "weight 60")
    assert codes(*texts) == ["KH722"]


@pytest.mark.provokes("KH723")
def test_no_refresh_of_arp():
    without = ("    vrrp_garp_master_refresh 10\n", "")
    assert the("KH723", changed(without)).evidence == "vrrp_instance api"
    assert codes(changed(("master_refresh 10", "master_refresh 0"))) == ["KH723"]
    own = ("    state BACKUP", "    garp_master_refresh 60")
    assert codes(changed(without, own)) == []


@pytest.mark.provokes("KH725")
def test_the_vip_on_another_interface():
    assert the("KH725", changed(("/32 dev eth0", "/32 dev eth1"))).line == 34


def test_no_dev_is_the_instances_interface():
    assert codes(changed(("/32 dev eth0", "/32"))) == []


@pytest.mark.provokes("KH726", "KH729")
def test_a_name_that_is_tracked_and_one_that_is_defined():
    found = lint(changed(("        check\n", "        chekc\n")))
    assert [(f.code, f.line) for f in found] == [("KH729", 12), ("KH728", 19), ("KH726", 31)]


@pytest.mark.provokes("KH727")
def test_a_script_that_is_slow_to_fail():
    assert "up to 6 s" in the("KH727", changed(("interval 1", "interval 3"))).message


def test_a_script_that_is_quick_enough():
    assert codes(changed(("interval 1", "interval 2"))) == []


@pytest.mark.provokes("KH728")
def test_no_health_check():
    text = GOOD.replace(GOOD[GOOD.index("vrrp_script") : GOOD.index("vrrp_instance")], "")
    text = text.replace("    track_script {\n        check\n    }\n", "")
    assert the("KH728", text).evidence == "vrrp_instance api"


def test_a_sync_group_may_check_for_its_members():
    group = "vrrp_sync_group G {\n group {\n  api\n }\n track_script {\n  check\n }\n}\n"
    text = changed(("    track_script {\n        check\n    }\n", ""), ("weight -60", "weight 0"))
    assert codes(text + group) == []


@pytest.mark.provokes("KH729")
def test_a_script_that_is_never_run():
    spare = 'vrrp_script spare {\n    script "/bin/true"\n}\n'
    assert the("KH729", GOOD + spare).line == 37


@pytest.mark.provokes("KH730")
def test_the_node_is_its_own_peer():
    text = changed(("        198.51.100.12\n", "        198.51.100.11\n        198.51.100.12\n"))
    assert the("KH730", text).line == 27


@pytest.mark.provokes("KH731")
def test_unicast_from_any_address():
    assert the("KH731", changed(("    unicast_src_ip 198.51.100.11\n", ""))).line == 25


@pytest.mark.provokes("KH732")
def test_mail_to_nobody():
    mail = (
        "router_id m1\n    notification_email {\n      admin@example.com\n      me@here.net\n    }"
    )
    assert the("KH732", changed(("router_id m1", mail))).line == 4


def test_mail_to_somebody():
    mail = "router_id m1\n    notification_email {\n        ops@clouds.net\n    }"
    assert codes(changed(("router_id m1", mail))) == []


@pytest.mark.provokes("KH733")
def test_what_is_left_of_the_sample():
    server = "virtual_server 10.10.10.2 1358 {\n    lb_algo rr\n}\n"
    assert the("KH733", GOOD + server).line == 37
    assert the("KH733", changed(("198.51.100.10/32", "192.168.200.16/32"))).line == 34


def test_virtual_servers_of_ones_own():
    assert codes(GOOD + "virtual_server 203.0.113.80 80 {\n    lb_algo rr\n}\n") == []


@pytest.mark.provokes("KH734")
@pytest.mark.parametrize("source", [True, False])
def test_unicast_without_peers(source):
    text = changed(("        198.51.100.12\n        198.51.100.13\n", ""))
    if not source:
        text = text.replace("    unicast_src_ip 198.51.100.11\n", "")
    assert the("KH734", text).evidence == "unicast_peer"


@pytest.mark.provokes("KH735")
def test_a_template_that_nobody_filled_in():
    found = the("KH735", changed(("priority 200", "priority ${PRIORITY}")))
    assert (found.line, found.evidence) == (23, "${PRIORITY}")


def test_a_definition_and_a_shells_variable():
    assert codes("$PRIO=200\n" + changed(("priority 200", "priority $PRIO"))) == []
    assert codes(changed(("endpoint 8443", "endpoint ${PORT}"))) == []
