"""The graph of an application as text, Mermaid and JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from meshgen.edges import GATEWAY
from meshgen.graph import Graph, Node
from meshgen.types import DeploymentID


def replicas_of(node: Node) -> int:
    """How many replicas of a deployment start."""
    return node.application.deployment.deployment_options.num_replicas


def text(graph: Graph) -> str:
    """A tree from the gateway down, with an aligned column of replicas and deployments."""
    rows = [("gateway", "HTTP")]
    rows += _branch(graph, graph.ingress, "", last=True, seen=set())
    width = max(len(left) for left, _ in rows)
    lines = [f"{left:<{width}}  {right}" for left, right in rows]
    total = sum(replicas_of(node) for node in graph.nodes)
    head = f"{graph.app}: {_count(len(graph.nodes), 'service')}, {_count(total, 'replica')}"
    return "\n".join([head, "", *lines])


def mermaid(graph: Graph) -> str:
    """A Mermaid flowchart."""
    lines = ["flowchart LR", f'  {GATEWAY}(["gateway"])']
    for node in reversed(graph.nodes):
        label = f"{node.stub.service} ×{replicas_of(node)}"
        lines.append(f'  {_mermaid_id(node)}["{label}"]')
    lines.append(f"  {GATEWAY} --> {_mermaid_id(graph.ingress)}")
    nodes = {node.stub.id: node for node in graph.nodes}
    for caller, callee in graph.edges():
        lines.append(f"  {_mermaid_id(nodes[caller])} --> {_mermaid_id(nodes[callee])}")
    return "\n".join(lines)


def document(graph: Graph) -> dict[str, Any]:
    """The graph as JSON: services with the ingress last, and edges by service name."""
    service = {node.stub.id: node.stub.service for node in graph.nodes}
    return {
        "application": graph.app,
        "ingress": graph.ingress.stub.service,
        "services": [
            {
                "name": node.stub.service,
                "deployment": node.stub.id.name,
                "replicas": replicas_of(node),
                "methods": sorted(node.stub.methods),
            }
            for node in graph.nodes
        ],
        "edges": [
            {"from": service[caller], "to": service[callee]} for caller, callee in graph.edges()
        ],
    }


def _branch(
    graph: Graph, node: Node, indent: str, *, last: bool, seen: set[DeploymentID]
) -> Iterator[tuple[str, str]]:
    shown = node.stub.id in seen and bool(node.callees)
    note = ", see above" if shown else ""
    label = f"×{replicas_of(node)}  {node.stub.id.name}{note}"
    yield f"{indent}{'└─' if last else '├─'} {node.stub.service}", label
    if shown:
        return
    seen.add(node.stub.id)
    nodes = {other.stub.id: other for other in graph.nodes}
    for index, callee in enumerate(node.callees):
        deeper = f"{indent}{'   ' if last else '│  '}"
        is_last = index == len(node.callees) - 1
        yield from _branch(graph, nodes[callee], deeper, last=is_last, seen=seen)


def _mermaid_id(node: Node) -> str:
    # Some words ("end", "graph") mean something to Mermaid; a prefix makes any name safe.
    return f"s-{node.stub.service}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
