"""Plan, findings, status -> text and JSON. Pure: returns strings and plain data, prints nothing.

Colour is markup here ([bold], [red]); the command line decides whether a terminal shows it.
"""

import difflib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from kubeha import haproxy, keepalived, lease
from kubeha.blocks import findings_text
from kubeha.checks.finding import Finding
from kubeha.facts import Carried, Fetched, NodeFacts, Observed, Unreachable
from kubeha.model import Node
from kubeha.plan import FileChange, NodeChange, Plan, Reaction
from kubeha.world import API_READYZ, API_VERSION, CONTROLLERS, ENDPOINT_VERSION, World

SCHEMA_VERSION = 1


def plan_text(plan: Plan, *, diff: bool = True) -> str:
    """What apply would do, in its order; `diff`: with a unified diff of each file."""
    if plan.empty:
        return "No changes. Every load balancer node is as the cluster file says."
    lines = []
    told: dict[tuple[str, ...], str] = {}
    for number, change in enumerate(plan.changes, 1):
        role = _role(plan, change)
        lines.append(f"[bold]{number}. {escape(change.node)}[/bold]{role}")
        todo = tuple(_change_lines(change, diff))
        if todo in told:
            todo = (f"the same as on {escape(told[todo])}",)
        told.setdefault(todo, change.node)
        lines += [f"   {line}" for line in todo]
    count = len(plan.changes)
    if plan.takeover:
        lines.append(
            f"Takeover: keepalived on {', '.join(plan.takeover)} was not set up by kubeha; it is"
            f" stopped there just before {plan.changes[0].node} starts its own: {plan.vip} is"
            " nowhere for some seconds."
        )
    if plan.first:
        first = plan.changes[0].node
        lines.append(f"Order: {first} first; once it holds {plan.vip}, the others one at a time.")
    elif plan.holder:
        lines.append(f"Order: the holder of {plan.vip}, {plan.holder}, comes last.")
    if plan.move:
        rest = ", once its connections have ended or --deadline has come" if plan.move.wait else ""
        lines.append(
            f"Move: {plan.vip} goes from {plan.move.node} to another node, without breaking"
            f" connections, before services are started anew there{rest}."
        )
    files = sum(len(change.files) for change in plan.changes)
    lines.append(
        f"Plan: {count} node{'s' if count != 1 else ''} to change, {files} files to write."
    )
    return "\n".join(lines)


def _role(plan: Plan, change: NodeChange) -> str:
    if plan.first and change is plan.changes[0]:
        return " (primary: takes the VIP)"
    if change.node == plan.holder:
        return " (holds the VIP)"
    return ""


def _change_lines(change: NodeChange, diff: bool) -> list[str]:
    lines = []
    if change.install:
        lines.append(f"[green]+[/green] install {' and '.join(change.install)}")
    for file in change.files:
        sign = "[green]+[/green] create" if file.before is None else "[yellow]~[/yellow] change"
        kept = ", a copy of the present one is kept" if file.keep else ""
        lines.append(f"{sign} {file.path}: {escape(file.after.reason)}{kept}")
        if diff:
            lines += [f"    {line}" for line in file_diff(file)]
    for service in change.services:
        if service.enable:
            lines.append(f"[green]+[/green] enable {service.unit} at boot")
        if service.reaction is not Reaction.NONE:
            reason = escape(service.reason)
            lines.append(f"[yellow]~[/yellow] {service.reaction.value} {service.unit}: {reason}")
    return lines


def file_diff(file: FileChange) -> list[str]:
    """Unified diff with three lines of context, coloured as diff(1) does."""
    diff = difflib.unified_diff(
        (file.text_before or "").splitlines(),
        file.after.content.splitlines(),
        fromfile=file.path if file.before else "/dev/null",
        tofile=file.path,
        lineterm="",
    )
    colours = {"+": "green", "-": "red", "@": "cyan"}
    # What is not UTF-8 in a foreign file has to be shown somehow.
    lines = [line.encode("utf-8", "backslashreplace").decode() for line in diff]
    return [
        f"[{colours[line[0]]}]{escape(line)}[/]" if line[:1] in colours else escape(line)
        for line in lines
    ]


def plan_json(plan: Plan) -> dict[str, Any]:
    """The plan as data: for review by programs."""
    return {
        "version": SCHEMA_VERSION,
        "cluster": plan.cluster,
        "vip": plan.vip,
        "first_deployment": plan.first,
        "holder": plan.holder,
        "takeover": list(plan.takeover),
        "move": {"from": plan.move.node, "wait": plan.move.wait} if plan.move else None,
        "changes": [_change_json(change) for change in plan.changes],
    }


def _change_json(change: NodeChange) -> dict[str, Any]:
    return {
        "node": change.node,
        "install": list(change.install),
        "files": [
            {
                "path": file.path,
                "action": "create" if file.before is None else "change",
                "before_sha256": file.before.sha256 if file.before else None,
                "mode": f"{file.after.mode:04o}",
                "owner": file.after.owner,
                "group": file.after.group,
                "reason": file.after.reason,
                "keep": file.keep,
                "content": file.after.content,
            }
            for file in change.files
        ],
        "services": [
            {
                "unit": service.unit,
                "action": service.reaction.value,
                "enable": service.enable,
                "reason": service.reason,
            }
            for service in change.services
        ],
    }


def status_json(world: World, findings: Iterable[Finding]) -> dict[str, Any]:
    """The documented schema of `status -o json` and `verify -o json` (docs/status-json.md)."""
    answer = world.endpoint_answer()
    nodes = (*world.cluster.nodes, *world.cluster.clients)
    seen = {**world.nodes, **world.clients}
    return {
        "version": SCHEMA_VERSION,
        "cluster": world.cluster.cluster,
        "endpoint": {
            "vip": str(world.cluster.endpoint.vip),
            "port": world.cluster.endpoint.port,
            "holders": list(world.holders),
            "reachable": answer is not None and answer.status in (200, 401),
            "server_version": server_version(answer),
        },
        "leaders": leaders(world),
        "nodes": [_node_json(world, node, seen[node.name]) for node in nodes if node.name in seen],
        "findings": [finding.as_json() for finding in findings],
    }


def leaders(world: World) -> dict[str, str | None]:
    """Who leads, by controller; null for one that was not asked for or has no leader."""
    answers = {name: world.lease(name) for name in CONTROLLERS}
    return {name: lease.holder(one) if one else None for name, one in answers.items()}


def server_version(answer: Fetched | None) -> str | None:
    """gitVersion of an answer to /version."""
    if answer is None or answer.status != 200:
        return None
    try:
        return str(json.loads(answer.body)["gitVersion"])
    except (ValueError, KeyError, TypeError):
        return None


def _node_json(world: World, node: Node, seen: Observed) -> dict[str, Any]:
    base: dict[str, Any] = {"name": node.name, "address": str(node.address)}
    if isinstance(seen, Unreachable):
        return {**base, "reachable": False, "reason": seen.reason}
    base["reachable"] = True
    if node in world.cluster.load_balancer_nodes:
        base |= _load_balancer_json(world, seen)
    if node in world.cluster.control_plane:
        base["api"] = {
            "healthy": _status(seen.fetched, API_READYZ) in (200, 401),
            "version": server_version(seen.fetched.get(API_VERSION)),
        }
    base["endpoint_reachable"] = _status(seen.fetched, ENDPOINT_VERSION) is not None
    return base


def _status(fetched: Mapping[str, Fetched], key: str) -> int | None:
    return fetched[key].status if key in fetched else None


def _load_balancer_json(world: World, seen: NodeFacts) -> dict[str, Any]:
    said = keepalived.parse_state(seen.keepalived_json or "", world.cluster.endpoint.vip)
    servers = haproxy.api_servers(seen.haproxy_stat or "")
    return {
        "vrrp": {
            "state": said.state if said else None,
            "priority": said.priority if said else None,
            "holds_vip": seen.holds(world.cluster.endpoint.vip),
        },
        "keepalived": {
            "active": _active(seen, "keepalived.service"),
            "version": seen.packages.get("keepalived"),
        },
        "haproxy": {
            "active": _active(seen, "haproxy.service"),
            "version": seen.packages.get("haproxy"),
            "servers": [
                {"name": server.name, "status": server.status, "check": server.check_status}
                for server in servers
            ],
        },
        "drained": seen.drained,
        "handover": _handover_json(seen.carried),
    }


def _handover_json(carried: Carried | None) -> dict[str, Any]:
    if carried is None:
        return {"active": False, "connections": 0, "seconds": 0.0}
    seconds = round(carried.seconds, 1)
    return {"active": True, "connections": carried.connections, "seconds": seconds}


def _active(seen: NodeFacts, unit: str) -> bool:
    return unit in seen.units and seen.units[unit].active


def status_view(
    world: World, findings: tuple[Finding, ...], width: int | None = None
) -> RenderableType:
    """The same facts as a table for people; `width` as for `findings_text`."""
    data = status_json(world, findings)
    end = data["endpoint"]
    holders = " and ".join(end["holders"]) or "nobody"
    good = end["reachable"] and len(end["holders"]) == 1
    word = (
        f"[green]answers {end['server_version'] or ''}[/green]" if good else "[red]not well[/red]"
    )
    head = Text.from_markup(
        f"[bold]{escape(data['cluster'])}[/bold]  endpoint [bold]{end['vip']}:{end['port']}[/bold]"
        f"  held by [bold]{escape(holders)}[/bold]  {word}"
    )
    parts: list[RenderableType] = [head, _table(data)]
    if led := [f"{name} on {who}" for name, who in data["leaders"].items() if who]:
        parts.append(Text(f"leading: {', '.join(led)}"))
    if findings:
        parts.append(Text.from_markup(findings_text(findings, width)))
    return Group(*parts)


def _table(data: dict[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    for column in ("NODE", "ADDRESS", "VIP", "VRRP", "KEEPALIVED", "HAPROXY", "SERVERS", "API"):
        table.add_column(column, no_wrap=True)
    for node in data["nodes"]:
        table.add_row(*_row(node))
    return table


def _row(node: dict[str, Any]) -> tuple[str, ...]:
    name, address = node["name"], node["address"]
    if not node["reachable"]:
        return (f"[red]{name}[/red]", address, "[red]unreachable[/red]", "", "", "", "", "")
    return (name, address, *_vrrp_cells(node), *_service_cells(node), _api_cell(node))


def _vrrp_cells(node: dict[str, Any]) -> tuple[str, str]:
    if "vrrp" not in node:
        return "-", "-"
    vrrp = node["vrrp"]
    drained = " drained" if node["drained"] else ""
    if (moving := node["handover"])["active"]:
        left = "?" if moving["connections"] is None else moving["connections"]
        drained += f", {left} connections left for {moving['seconds']:.0f} s"
    state = f"{vrrp['state'] or '?'} {vrrp['priority'] or ''}".strip() + drained
    colour = {"MASTER": "green", "BACKUP": "white"}.get(vrrp["state"], "red")
    return "[green]holds[/green]" if vrrp["holds_vip"] else "-", f"[{colour}]{state}[/{colour}]"


def _service_cells(node: dict[str, Any]) -> tuple[str, str, str]:
    if "haproxy" not in node:
        return "-", "-", "-"
    up = sum(server["status"].startswith("UP") for server in node["haproxy"]["servers"])
    count = len(node["haproxy"]["servers"])
    colour = "green" if count and up == count else "yellow" if up else "red"
    return (
        _service_cell(node["keepalived"]),
        _service_cell(node["haproxy"]),
        f"[{colour}]{up}/{count} up[/{colour}]",
    )


def _service_cell(service: dict[str, Any]) -> str:
    version = (service["version"] or "").split("-")[0].split(":")[-1]
    return f"[green]{version}[/green]" if service["active"] else f"[red]down[/red] {version}"


def _api_cell(node: dict[str, Any]) -> str:
    if "api" not in node:
        return "-"
    api = node["api"]
    return (
        f"[green]{escape(api['version'] or 'ready')}[/green]"
        if api["healthy"]
        else "[red]not ready[/red]"
    )
