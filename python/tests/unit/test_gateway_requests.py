"""Requests that wait for their answers, by headers that may say anything."""

import json

from gateway_provisioners.gateway.websocket.requests import Requests, short_header


def execute(request, **fields):
    return {"msg_id": request, "msg_type": "execute_request", **fields}


def reply_to(request):
    parts = (b"{}", json.dumps({"msg_id": request}).encode(), b"{}", b"{}")
    return [b"<IDS|MSG>", b"signature", *parts]


def test_a_reply_answers_its_request():
    awaited = Requests(8)
    awaited.add(execute("r1"))
    awaited.add(execute("r2"))
    assert (awaited.first["msg_id"], awaited.cell["msg_id"]) == ("r1", "r2")
    awaited.answered(reply_to("r1"))
    assert "r1" not in awaited
    assert awaited.first["msg_id"] == "r2"
    awaited.answered([b"nonsense"])
    awaited.answered(reply_to(["nonsense"]))
    assert awaited
    awaited.clear()
    assert not awaited
    assert awaited.first == awaited.cell == {}


def test_a_cell_comes_before_other_requests():
    running = Requests(8)
    running.add({"msg_id": "c1", "msg_type": "complete_request"})
    assert running.cell["msg_id"] == "c1"
    running.add(execute("r1"))
    running.add({"msg_id": "c2", "msg_type": "complete_request"})
    assert running.cell["msg_id"] == "r1"


def test_only_so_many_short_requests_are_kept():
    awaited = Requests(2)
    awaited.add({"msg_id": "m", "msg_type": "comm_msg"})
    awaited.add({"msg_id": "x" * 1000, "msg_type": "execute_request"})
    awaited.add({"msg_id": ["r"], "msg_type": "execute_request"})
    assert not awaited
    for each in ("r1", "r2", "r3"):
        awaited.add(execute(each))
    assert "r3" not in awaited


def test_a_header_keeps_what_clients_look_at():
    header = execute("r1", session="s", username="x" * 1000, subshell_id="y", date=5)
    assert short_header(header) == {**execute("r1"), "session": "s"}
