"""Our masks and our scores in fields that take anything: a sample of the blocks that people use.

What such a field makes of a value is said by operations in the step, and they are the same in all
of these blocks. Lists have fields of their own kind too, `list_of_values`; none of them is for
scores: they mean names, colours, points.
"""

from __future__ import annotations

import csv
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from tests.matrix import outcomes
from tests.matrix.definitions import SEGMENT, workflow
from tests.matrix.parts import switch_to_default
from tests.matrix.scenes import MANY, NOTHING, OTHER
from tests.matrix.values import MASKS

SCORES = "$steps.sam.scores"
COUNT = [{"type": "SequenceLength"}]
BEST = [{"type": "NumericSequenceAggregate", "function": "max", "neutral_value": 0}]
PICTURES = (NOTHING, OTHER, MANY)

numbers_of_ours = pytest.mark.parametrize(
    ("ours", "operations", "expected"),
    [(MASKS, COUNT, [0, 2, 6]), (SCORES, BEST, [0, 0.75, 0.75])],
    ids=["masks", "scores"],
)


def results_of(block: str, *further: dict[str, Any], **fields: Any) -> list[dict[str, Any]]:
    """Return what comes out of all steps, where the block is fed by ours, for each picture."""
    step = {"type": f"roboflow_core/{block}", "name": "block", **fields}
    return outcomes.run(workflow([{**SEGMENT, "name": "sam"}, step, *further]), PICTURES)


@numbers_of_ours
def test_property_definition(ours: str, operations: Any, expected: list[float]) -> None:
    results = results_of("property_definition@v1", data=ours, operations=operations)
    assert [result["block"]["output"] for result in results] == expected


@numbers_of_ours
def test_expression(ours: str, operations: Any, expected: list[float]) -> None:
    switch = switch_to_default(operations)
    results = results_of("expression@v1", data={"value": ours}, switch=switch)
    assert [result["block"]["output"] for result in results] == expected


@numbers_of_ours
def test_csv_formatter(ours: str, operations: Any, expected: list[float]) -> None:
    fields = {"columns_data": {"value": ours}, "columns_operations": {"value": operations}}
    *others, last = results_of("csv_formatter@v1", **fields)
    assert all(result["block"]["csv_content"] is None for result in others)
    rows = csv.DictReader(last["block"]["csv_content"].splitlines())
    assert [float(row["value"]) for row in rows] == expected


@numbers_of_ours
def test_continue_if(ours: str, operations: Any, expected: list[float]) -> None:
    is_any = {
        "type": "BinaryStatement",
        "left_operand": {"type": "DynamicOperand", "operand_name": "n", "operations": operations},
        "comparator": {"type": "(Number) >"},
        "right_operand": {"type": "StaticOperand", "value": 0},
    }
    drawn = {
        "type": "roboflow_core/mask_visualization@v1",
        "name": "drawn",
        "image": "$inputs.image",
        "predictions": MASKS,
    }
    results = results_of(
        "continue_if@v1",
        drawn,
        condition_statement={"type": "StatementGroup", "statements": [is_any]},
        evaluation_parameters={"n": ours},
        next_steps=["$steps.drawn"],
    )
    went_on = [result["drawn"]["image"] is not None for result in results]
    assert went_on == [value > 0 for value in expected]


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    """Yield a server on loopback whose `posted` lists the JSON bodies that came in."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *arguments: Any) -> None:
            pass

    posted: list[Any] = []
    with HTTPServer(("127.0.0.1", 0), Handler) as listening:
        listening.posted = posted
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield listening
        listening.shutdown()
        thread.join()


def test_webhook_sink(server: HTTPServer) -> None:
    results = results_of(
        "webhook_sink@v1",
        url=f"http://127.0.0.1:{server.server_port}",
        method="POST",
        json_payload={"objects": MASKS, "scores": SCORES},
        json_payload_operations={"objects": [{"type": "DetectionsToDictionary"}]},
        fire_and_forget=False,
        cooldown_seconds=0,
        request_timeout=60,
    )
    assert [result["block"]["message"] for result in results] == [
        "Notification sent successfully"
    ] * len(PICTURES)
    assert [body["scores"] for body in server.posted] == [[], [0.75] * 2, [0.75] * 6]
    # A polygon each, and no row for an empty mask: as the engine writes rows.
    rows = [body["objects"]["predictions"] for body in server.posted]
    assert [[row["class"] for row in of_one] for of_one in rows] == [
        [],
        list(OTHER.names),
        [name for name in MANY.names if name != "empty"],
    ]
    assert all(row["points"] for of_one in rows for row in of_one)
