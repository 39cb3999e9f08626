"""The graph as text, Mermaid, JSON and SVG."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

from meshgen import serve
from meshgen.build.picture import document, mermaid, text
from meshgen.build.svg import draw, layout
from meshgen.graph import Graph, build_graph
from meshgen.serve.deployment import Deployment

SVG = "{http://www.w3.org/2000/svg}"


class Model:
    """Stands for any user class."""

    def __init__(self, *others: Any) -> None:
        self.others = others

    def answer(self, question: str) -> str:
        """A method to list."""
        return question


MODEL: Deployment[..., Any] = serve.deployment(Model)


def _named(name: str, replicas: int = 1) -> Deployment[..., Any]:
    return MODEL.options(name=name, num_replicas=replicas)


def _diamond() -> Graph:
    """front calls left and right, which both call deep, which calls last."""
    deep = _named("Deep").bind(_named("Last").bind())
    left, right = _named("Left", 3).bind(deep), _named("Right").bind(deep)
    return build_graph(_named("Front").bind(left, right), app="shop")


def test_text_is_a_tree_that_shows_a_shared_service_once_in_full() -> None:
    """Columns are aligned; the second mention points to the first."""
    assert text(_diamond()).splitlines() == [
        "shop: 5 services, 7 replicas",
        "",
        "gateway           HTTP",
        "└─ front          ×1  Front",
        "   ├─ left        ×3  Left",
        "   │  └─ deep     ×1  Deep",
        "   │     └─ last  ×1  Last",
        "   └─ right       ×1  Right",
        "      └─ deep     ×1  Deep, see above",
    ]


def test_mermaid_has_a_node_for_each_service_and_an_arrow_for_each_handle() -> None:
    """From the gateway on."""
    lines = mermaid(_diamond()).splitlines()
    assert lines[0] == "flowchart LR"
    assert '  s-left["left ×3"]' in lines
    assert {line.strip() for line in lines if "-->" in line} == {
        "gateway --> s-front",
        "s-front --> s-left",
        "s-front --> s-right",
        "s-left --> s-deep",
        "s-right --> s-deep",
        "s-deep --> s-last",
    }


def test_json_lists_services_methods_and_edges() -> None:
    """Callees first, the ingress last."""
    found = document(_diamond())
    assert (found["application"], found["ingress"]) == ("shop", "front")
    assert [service["name"] for service in found["services"]] == [
        *("last", "deep", "left", "right", "front"),
    ]
    assert found["services"][2]["replicas"] == 3
    assert "answer" in found["services"][0]["methods"]
    assert {"from": "deep", "to": "last"} in found["edges"]
    assert len(found["edges"]) == 5


def test_svg_is_xml_with_a_box_for_each_service() -> None:
    """Names are escaped, and both colour schemes have a style."""
    root = ET.fromstring(draw(_diamond()))
    labels = [element.text for element in root.iter(f"{SVG}text")]
    assert {"gateway", "front", "left", "right", "deep", "last", "3 replicas"} <= {*labels}
    assert len([*root.iter(f"{SVG}rect")]) == 6
    assert len([path for path in root.iter(f"{SVG}path") if path.get("class") == "edge"]) == 6
    style = root.find(f"{SVG}style")
    assert style is not None and "prefers-color-scheme: dark" in (style.text or "")


def test_every_edge_points_to_the_right_and_no_boxes_touch() -> None:
    """A callee stands right of all its callers, whatever the shortest way to it is."""
    edges = [("a", "b"), ("a", "c"), ("b", "d"), ("d", "c"), ("a", "e")]
    boxes = layout(dict.fromkeys("abcde", ""), edges)
    assert all(boxes[one].x + boxes[one].width < boxes[other].x for one, other in edges)
    corners = {(box.x, box.y) for box in boxes.values()}
    assert len(corners) == len(boxes)


def test_lines_do_not_cross_where_they_need_not() -> None:
    """Rows follow their neighbours, not the order of names."""
    edges = [("r", "a"), ("r", "b"), ("a", "z"), ("b", "y")]
    boxes = layout(dict.fromkeys("rabyz", ""), edges)
    assert (boxes["a"].y < boxes["b"].y) == (boxes["z"].y < boxes["y"].y)
