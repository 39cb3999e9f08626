"""Draw the graph of an application as SVG, offline: layers from left to right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from meshgen.build.picture import replicas_of
from meshgen.edges import GATEWAY
from meshgen.graph import Graph

_HEIGHT, _ROW_GAP, _COLUMN_GAP, _MARGIN = 52, 24, 72, 16
_CHARACTER = 8.2
_SWEEPS = 4
_STYLE = """
  .box { fill: #f4f6fa; stroke: #5b6b8c; stroke-width: 1.5 }
  .edge { fill: none; stroke: #5b6b8c; stroke-width: 1.5 }
  .tip { fill: #5b6b8c }
  text { font: 14px system-ui, sans-serif; fill: #1b2434; text-anchor: middle }
  .note { font-size: 12px; fill: #5b6b8c }
  @media (prefers-color-scheme: dark) {
    .box { fill: #1d2533; stroke: #8fa3c8 }
    .edge { stroke: #8fa3c8 }
    .tip { fill: #8fa3c8 }
    text { fill: #e8edf6 }
    .note { fill: #a9b8d4 }
  }"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """One service where it is drawn; x and y are its upper left corner."""

    label: str
    note: str
    x: float
    y: float
    width: float


Edge = tuple[str, str]


def draw(graph: Graph) -> str:
    """The picture as one SVG document, readable on light and dark ground."""
    labels = {GATEWAY: "HTTP"}
    for node in reversed(graph.nodes):
        replicas = replicas_of(node)
        labels[node.stub.service] = f"{replicas} replica{'' if replicas == 1 else 's'}"
    service = {node.stub.id: str(node.stub.service) for node in graph.nodes}
    edges = [(GATEWAY, str(graph.ingress.stub.service))]
    edges += [(service[caller], service[callee]) for caller, callee in graph.edges()]
    boxes = layout(labels, edges)
    return _document(graph.app, boxes, edges)


def layout(labels: Mapping[str, str], edges: Sequence[Edge]) -> dict[str, Box]:
    """Where each service goes: its column is its distance from the gateway, rows cross little."""
    columns = _order(_columns(labels, edges), edges)
    height = max(len(column) for column in columns) * (_HEIGHT + _ROW_GAP) - _ROW_GAP
    boxes, x = {}, float(_MARGIN)
    for column in columns:
        width = max(max(len(name), len(labels[name])) for name in column) * _CHARACTER + 28
        used = len(column) * (_HEIGHT + _ROW_GAP) - _ROW_GAP
        y = _MARGIN + (height - used) / 2
        for name in column:
            boxes[name] = Box(label=name, note=labels[name], x=x, y=y, width=width)
            y += _HEIGHT + _ROW_GAP
        x += width + _COLUMN_GAP
    return boxes


def _columns(names: Mapping[str, str], edges: Sequence[Edge]) -> list[list[str]]:
    """By the longest way from the gateway, so that every edge points to the right."""
    depth = dict.fromkeys(names, 0)
    for _ in names:
        for caller, callee in edges:
            depth[callee] = max(depth[callee], depth[caller] + 1)
    return [
        [name for name in names if depth[name] == column]
        for column in range(max(depth.values()) + 1)
    ]


def _order(columns: list[list[str]], edges: Sequence[Edge]) -> list[list[str]]:
    """Sort each column by the mean row of its neighbours, sweeping right, then left."""
    neighbours: dict[str, list[str]] = {name: [] for column in columns for name in column}
    for caller, callee in edges:
        neighbours[caller].append(callee)
        neighbours[callee].append(caller)
    row = {name: index for column in columns for index, name in enumerate(column)}
    for sweep in range(_SWEEPS):
        for column in columns if sweep % 2 == 0 else reversed(columns):
            by_mean = sorted(
                (sum(row[other] for other in neighbours[name]) / len(neighbours[name]), name)
                for name in column
            )
            column[:] = [name for _, name in by_mean]
            row.update({name: index for index, name in enumerate(column)})
    return columns


def _document(title: str, boxes: Mapping[str, Box], edges: Sequence[Edge]) -> str:
    width = max(box.x + box.width for box in boxes.values()) + _MARGIN
    height = max(box.y + _HEIGHT for box in boxes.values()) + _MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{_STYLE}\n</style>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" '
        'markerHeight="8" orient="auto"><path class="tip" d="M0 0 8 4 0 8z"/></marker></defs>',
        *(_edge(boxes[caller], boxes[callee]) for caller, callee in edges),
        *(_box(box) for box in boxes.values()),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _edge(caller: Box, callee: Box) -> str:
    x1, y1 = caller.x + caller.width, caller.y + _HEIGHT / 2
    x2, y2 = callee.x, callee.y + _HEIGHT / 2
    bend = (x1 + x2) / 2
    path = f"M{x1:.1f} {y1:.1f} C{bend:.1f} {y1:.1f} {bend:.1f} {y2:.1f} {x2:.1f} {y2:.1f}"
    return f'<path class="edge" d="{path}" marker-end="url(#tip)"/>'


def _box(box: Box) -> str:
    centre = box.x + box.width / 2
    return (
        f'<rect class="box" x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" '
        f'height="{_HEIGHT}" rx="8"/>'
        f'<text x="{centre:.1f}" y="{box.y + 23:.1f}">{escape(box.label)}</text>'
        f'<text class="note" x="{centre:.1f}" y="{box.y + 41:.1f}">{escape(box.note)}</text>'
    )
