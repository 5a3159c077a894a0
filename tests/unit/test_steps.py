"""The order of what is done on a node, and of what takes it back."""

from dataclasses import replace

from worlds import bare, cluster, deployed, text_file, unit

from kubeha import paths
from kubeha.facts import NodeFacts
from kubeha.plan import HAPROXY, KEEPALIVED, NodeChange, make_plan, wanted
from kubeha.remote import ABSENT
from kubeha.steps import (
    Gate,
    GateKind,
    PurgeNew,
    Remove,
    Run,
    Stage,
    Step,
    Write,
    forward,
    noteworthy,
    way_back,
)
from kubeha.world import World


def first_change() -> tuple[NodeChange, NodeFacts]:
    of = cluster()
    facts = {node.name: bare(node.name, str(node.address)) for node in of.control_plane}
    return make_plan(of, wanted(World(of, facts)), facts).changes[0], facts["m1"]


def later_change() -> tuple[NodeChange, NodeFacts]:
    """A new port of the API servers on a node that runs."""
    of, new = cluster(), cluster(api_port=7443)
    facts = {node.name: bare(node.name, str(node.address)) for node in of.control_plane}
    facts = {
        name: deployed(desired, facts[name]) for name, desired in wanted(World(of, facts)).items()
    }
    return make_plan(new, wanted(World(new, facts)), facts).changes[0], facts["m1"]


def index(steps: tuple[Step, ...], title: str) -> int:
    return next(i for i, step in enumerate(steps) if title in step.title)


def test_nothing_is_put_in_place_before_its_program_has_judged_it() -> None:
    steps = forward(first_change()[0])
    staged = next(i for i, step in enumerate(steps) if isinstance(step, Stage))
    in_place = index(steps, "put the validated settings in place")
    judged = [i for i, s in enumerate(steps) if isinstance(s, Run) and s.argv[0] in {"haproxy"}]
    judged.append(index(steps, "let keepalived judge"))
    assert all(staged < i < in_place for i in judged)


def test_packages_come_while_their_services_are_masked() -> None:
    steps = forward(first_change()[0])
    mask = index(steps, "keep the packages from starting services")
    install = index(steps, "apt-get install haproxy keepalived")
    unmask = index(steps, "unmask")
    start = index(steps, "start haproxy")
    assert mask < install < unmask < start
    step = steps[mask]
    assert isinstance(step, Run)
    assert step.argv == ("systemctl", "mask", "--runtime", HAPROXY, KEEPALIVED)


def test_haproxy_is_at_work_before_keepalived_starts_and_each_has_a_gate() -> None:
    steps = forward(first_change()[0])
    gates = [(i, step.kind) for i, step in enumerate(steps) if isinstance(step, Gate)]
    assert [kind for _, kind in gates] == list(GateKind)
    assert index(steps, "start haproxy") < gates[0][0] < index(steps, "start kubeha-guard")
    assert gates[1][0] < index(steps, "start keepalived") < gates[2][0]
    assert isinstance(steps[-1], Write) and steps[-1].files[0].path == paths.APPLIED


def test_keepalived_has_to_judge_without_a_word() -> None:
    """2.1.5 ends with 0 whatever it finds; only its silence is a yes."""
    steps = forward(first_change()[0])
    judge = steps[index(steps, "let keepalived judge")]
    assert isinstance(judge, Run) and judge.quiet


def test_files_replace_only_what_the_plan_has_seen() -> None:
    change, facts = later_change()
    write = next(step for step in forward(change) if isinstance(step, Write))
    assert write.files[0].expect == facts.files[paths.HAPROXY_CONFIG].sha256
    first = next(step for step in forward(first_change()[0]) if isinstance(step, Write))
    assert {file.expect for file in first.files} == {ABSENT}


def test_a_reload_has_to_show_a_new_instance_and_a_first_start_needs_none() -> None:
    (gate,) = [step for step in forward(later_change()[0]) if isinstance(step, Gate)]
    assert gate.kind is GateKind.HAPROXY and gate.renewed
    assert not any(s.renewed for s in forward(first_change()[0]) if isinstance(s, Gate))


def test_a_later_change_installs_and_unmasks_nothing() -> None:
    titles = [step.title for step in forward(later_change()[0])]
    assert not [title for title in titles if "apt-get" in title or "mask" in title]


def test_the_way_back_of_a_first_deployment_leaves_a_bare_machine() -> None:
    change, before = first_change()
    steps = way_back(change, before, forward(change))
    assert index(steps, "stop keepalived") < index(steps, "remove the new files")
    removed = next(s for s in steps if isinstance(s, Remove) and "new files" in s.title)
    assert {file.path for file in removed.files} >= {file.path for file in change.files}
    assert {paths.DRAIN_FILE, paths.HOLDER_FILE} <= {file.path for file in removed.files}
    assert [step for step in steps if isinstance(step, PurgeNew)]
    assert not [s for s in steps if isinstance(s, Run) and "restart" in s.argv]


def test_packages_go_before_files_come_back() -> None:
    """A purge takes HAProxy's conffile with it, whoever wrote what is in it."""
    change, before = first_change()
    mine = text_file(paths.HAPROXY_CONFIG, "global\n    daemon\n")
    change = replace(
        change,
        files=tuple(replace(f, before=mine) if f.path == mine.path else f for f in change.files),
    )
    steps = way_back(change, before, forward(change))
    purge = next(i for i, step in enumerate(steps) if isinstance(step, PurgeNew))
    assert purge < index(steps, "put the former files back")


def test_the_way_back_of_a_later_change_restores_content_mode_and_owner() -> None:
    change, before = later_change()
    mine = replace(before.files[paths.HAPROXY_CONFIG], mode=0o600, owner="haproxy")
    change = replace(
        change,
        files=tuple(replace(f, before=mine) if f.path == mine.path else f for f in change.files),
    )
    steps = way_back(change, before, forward(change))
    (write,) = [step for step in steps if isinstance(step, Write)]
    back = next(file for file in write.files if file.path == mine.path)
    assert (back.content, back.mode, back.owner) == (mine.content, 0o600, "haproxy")
    assert back.expect is None


def test_what_was_not_tried_is_not_undone() -> None:
    """A settings file that its program refuses must not cost a reload, let alone a restart."""
    change, before = later_change()
    steps = forward(change)
    until = steps[: index(steps, "let haproxy judge") + 1]
    back = way_back(replace(change, files=()), before, until)
    assert [step.title for step in back] == ["clear up"]


def test_a_reload_is_undone_by_a_reload_and_looked_at() -> None:
    change, before = later_change()
    back = way_back(change, before, forward(change))
    verbs = [s.argv[1:] for s in back if isinstance(s, Run) and s.argv[0] == "systemctl"]
    assert ("reload-or-restart", HAPROXY) in verbs
    assert not [verb for verb in verbs if verb[0] == "restart"]
    assert isinstance(back[-1], Gate) and back[-1].kind is GateKind.HAPROXY


def test_the_way_back_stops_and_disables_only_what_was_not_running() -> None:
    change, before = first_change()
    before = replace(before, units={HAPROXY: unit(HAPROXY)})
    argvs = [s.argv for s in way_back(change, before, forward(change)) if isinstance(s, Run)]
    assert ("systemctl", "stop", KEEPALIVED) in argvs
    assert ("systemctl", "disable", "-q", KEEPALIVED) in argvs
    assert ("systemctl", "stop", HAPROXY) not in argvs


def test_foreign_files_are_kept_under_their_own_path() -> None:
    of = cluster()
    facts = {node.name: bare(node.name, str(node.address)) for node in of.control_plane}
    foreign = text_file(paths.KEEPALIVED_CONFIG, "vrrp_instance VI_1 {\n}\n")
    facts["m1"] = replace(facts["m1"], files={**facts["m1"].files, foreign.path: foreign})
    change = make_plan(of, wanted(World(of, facts)), facts).changes[0]
    writes = [file for step in forward(change) if isinstance(step, Write) for file in step.files]
    kept = {file.path: file.keep for file in writes if file.keep}
    assert kept == {paths.KEEPALIVED_CONFIG: "/var/lib/kubeha/kept/etc/keepalived/keepalived.conf"}


def test_only_what_matters_of_apt_is_shown() -> None:
    assert noteworthy("Setting up haproxy (2.6.12-1+deb12u4) ...")
    assert noteworthy("E: Unable to locate package keepalived")
    assert not noteworthy("(Reading database ... 45%")
