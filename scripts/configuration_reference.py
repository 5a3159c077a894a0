#!/usr/bin/env python3
"""Prints docs/configuration.md: every key of the cluster file, from the model that reads it."""

from pathlib import Path
from typing import Any

from kubeha.config import json_schema
from kubeha.vrrp import MAX_LOAD_BALANCERS, base_priorities

ROOT = Path(__file__).parents[1]

HEAD = """\
# The cluster file

`kubeha.yaml` says everything that kubeha has to know about a cluster. The least that works is a
name, a VIP and the nodes; `kubeha init` writes that, with comments:

```yaml
{example}```

Every problem of a file is reported at once, as `file:line:column: key: message (hint)`, and nothing
is touched. Unknown keys are refused. A file has at most 256 KiB; anchors, aliases and tags of YAML
are refused, so that what is in the file is what one reads there.

Durations are a number and its unit: `300ms`, `1s`, `5m`, `4h`. Names of clusters and nodes are
RFC 1123 labels: lower case letters, digits and `-`, at most 63.

For completion and checks in an editor: `kubeha schema > kubeha.schema.json`, and as the first line
of the cluster file `# yaml-language-server: $schema=kubeha.schema.json`.

This page is generated from the model (`scripts/configuration_reference.py`).
"""

TAIL = """\
## What follows from the file

**Priorities.** The order of the load balancer nodes is the order of priority; at most {most}. For
three nodes the priorities are {three}. The holder of the VIP adds a bonus, so it keeps the VIP when
a node of higher priority returns; a drained node has less than every healthy one.

**VRID.** Where `vrrp.vrid` is not given it is the last byte of the VIP, or 255 where that is 0: two
clusters on one /24 never get the same. What is deployed is never changed silently.

**Limits of open files** follow from `haproxy.max_connections`.

More examples are in `examples/`; each is loaded by the tests.
"""

SECTIONS = {
    "Cluster": ("Top level", ""),
    "Endpoint": ("`endpoint`", "What clients connect to."),
    "Node": ("Nodes", "Entries of `control_plane`, `load_balancers` and `clients`."),
    "Vrrp": ("`vrrp`", "The virtual router."),
    "Haproxy": ("`haproxy`", "The proxy."),
    "Ssh": ("`ssh`", "At the top level for all nodes, or in a node for that one."),
    "Kubernetes": ("`kubernetes`", "Where a control plane node keeps its files."),
    "Ignore": (
        "`ignore`",
        "[Findings](findings.md) that one has decided to live with, in a list. They are shown with"
        " the reason, do not count for the exit status and refuse no apply; `--ignore` does the"
        " same for one run. Those with which an apply could not work cannot be ignored.",
    ),
}


def reference() -> str:
    """The whole page."""
    schema = json_schema()
    models = {"Cluster": schema, **schema["$defs"]}
    example = (ROOT / "examples/three-nodes.yaml").read_text()
    parts = [HEAD.format(example=example)]
    parts += [_section(models, name) for name in SECTIONS]
    three = ", ".join(str(priority) for priority in base_priorities(3))
    parts.append(TAIL.format(most=MAX_LOAD_BALANCERS, three=three))
    return "\n".join(parts)


def _section(models: dict[str, Any], name: str) -> str:
    title, words = SECTIONS[name]
    model = models[name]
    required = model.get("required", [])
    lines = [f"## {title}", "", *([words, ""] if words else [])]
    lines += ["| key | value | default | |", "| --- | --- | --- | --- |"]
    for key, field in model["properties"].items():
        default = "**required**" if key in required else _default(field)
        described = _referred(models, field).get("description", "")
        text = field.get("description", described).replace("|", "\\|")
        lines.append(f"| `{key}` | {_kind(models, field)} | {default} | {text} |")
    return "\n".join(lines) + "\n"


def _default(field: dict[str, Any]) -> str:
    value = field.get("default")
    if isinstance(value, dict):
        return "see below"
    return "" if value in (None, []) else f"`{value}`"


def _referred(models: dict[str, Any], field: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = models.get(field.get("$ref", "").rpartition("/")[2], {})
    return found


def _kind(models: dict[str, Any], field: dict[str, Any]) -> str:
    """What a value looks like, in a word or two."""
    if "$ref" in field:
        return f"`{field['$ref'].rpartition('/')[2].lower()}` mapping"
    for several in ("anyOf", "oneOf"):
        if several in field:
            kinds = [_kind(models, each) for each in field[several] if each.get("type") != "null"]
            return " or ".join(dict.fromkeys(kinds))
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if field["type"] == "array":
        return "list of findings" if "Ignore" in str(field["items"]) else "list of nodes"
    if field["type"] == "integer":
        return f"{field['minimum']} to {field['maximum']}"
    if field.get("format") in ("ipv4", "ipv6"):
        return "IPv4 or IPv6 address"
    return f"{field['x-from']} to {field['x-to']}" if "x-from" in field else "text"


if __name__ == "__main__":
    print(reference(), end="")
