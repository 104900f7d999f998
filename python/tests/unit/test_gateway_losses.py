"""The output that was dropped, by the cell that it belongs to."""

import json

from gateway_provisioners.gateway.websocket.losses import Losses


def reported(losses):
    said = []
    losses.report(lambda text, parent: said.append((text, parent)), "why.")
    return said


def test_losses_are_reported_in_their_cells():
    losses = Losses()
    for cell in ("a", "b", "a"):
        losses.add(json.dumps({"msg_id": cell, "msg_type": "execute_request"}).encode(), 2**20)
    assert reported(losses) == [
        (
            "2 messages of this cell (2.0 MiB) were dropped: why.",
            {"msg_id": "a", "msg_type": "execute_request"},
        ),
        (
            "1 message of this cell (1.0 MiB) were dropped: why.",
            {"msg_id": "b", "msg_type": "execute_request"},
        ),
    ]
    assert not losses


def test_little_is_kept_of_large_parent_headers():
    losses = Losses()
    for n in range(1000):
        fields = {"msg_id": f"cell {n}", "username": "x" * 10_000, "more": "x" * 10_000}
        losses.add(json.dumps(fields).encode(), 1)
        losses.add(json.dumps({"msg_id": [["deep"]], "other": n}).encode(), 1)
    parents = [parent for _, parent in reported(losses)]
    assert len(parents) == 32
    assert sum(len(json.dumps(parent)) for parent in parents) < 1000
