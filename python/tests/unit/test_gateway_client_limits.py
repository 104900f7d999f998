"""The limits of clients, the rate of output, and the words about what is lost or refused."""

import json

import pytest

from gateway_provisioners.gateway.websocket.client_limits import client_limit
from gateway_provisioners.gateway.websocket.losses import Losses
from gateway_provisioners.gateway.websocket.rates import OutputRate
from gateway_provisioners.gateway.websocket.too_large import request_in

TORNADO = {"User-Agent": "Tornado/6.5"}
V1 = "v1.kernel.websocket.jupyter.org"


@pytest.mark.parametrize(
    ("headers", "subprotocol", "most"),
    [
        (TORNADO, None, 10 * 2**20),
        (TORNADO, V1, 0),
        ({"User-Agent": "Mozilla/5.0"}, None, 0),
        ({}, None, 0),
        ({**TORNADO, "X-Gateway-Client": "ours/1.0; max-message=123"}, None, 123),
        ({"X-Gateway-Client": "ours/1.0;max-message=123"}, V1, 123),
        ({"X-Gateway-Client": "ours/1.0; max-message=0"}, None, 0),
        ({"X-Gateway-Client": "ours/1.0; max-message=" + "9" * 50}, None, 0),
        ({"X-Gateway-Client": "nonsense"}, None, 0),
    ],
)
def test_limit_of_a_client(headers, subprotocol, most):
    assert client_limit(headers, subprotocol).max_bytes == most
    is_stock_server = headers == TORNADO and subprotocol is None
    assert client_limit(headers, subprotocol).text_only is is_stock_server


def test_rate_allows_a_burst_and_then_its_average():
    clock = [0.0]
    rate = OutputRate(100, 0, lambda: clock[0])
    assert rate.is_limited
    assert not rate.exceeded(299)
    assert not rate.exceeded(100)
    assert rate.exceeded(1)
    clock[0] = 2.0
    assert not rate.exceeded(1)
    rate.reset()
    assert not rate.exceeded(1)


def test_rate_of_messages_counts_each():
    rate = OutputRate(0, 2, lambda: 0.0)
    assert [rate.exceeded(10**9) for _ in range(8)] == [False] * 6 + [True] * 2
    assert not OutputRate(0, 0).is_limited


def test_losses_are_reported_once_in_each_cell():
    losses, said = Losses(), []
    for cell in "aab":
        losses.add(json.dumps({"msg_id": cell}).encode(), 2**20)
    losses.report(lambda words, parent: said.append((parent["msg_id"], words)), "why")
    assert [(cell, words.split()[0], words[-3:]) for cell, words in said] == [
        *(("a", "2", "why"), ("b", "1", "why"))
    ]
    assert not losses


def test_losses_of_very_many_cells_are_counted_together():
    losses, said = Losses(), []
    for number in range(1000):
        losses.add(json.dumps({"msg_id": str(number)}).encode(), 1)
    losses.report(lambda words, _: said.append(int(words.split()[0])), "why")
    assert len(said) == 32
    assert sum(said) == 1000


@pytest.mark.parametrize("content_first", [True, False])
def test_header_of_a_large_json_message_is_found(content_first):
    header = {"msg_id": "i", "msg_type": "execute_request"}
    content = {"content": {"code": '"header": {"a": 1} ' + "x" * 1000}}
    own = {"header": header, "channel": "control"}
    message = json.dumps({**content, **own} if content_first else {**own, **content}).encode()
    kept = message[:300] + message[-300:]
    assert request_in(kept, v1=False, text=True) == ("control", header)


def test_few_places_for_a_header_are_read():
    """Each is read to the end of what is nested in it, and a client can write thousands."""
    header = b'"header": {"msg_id": "i", "msg_type": "execute_request"}'
    expected = ("shell", {"msg_id": "i", "msg_type": "execute_request"})
    assert request_in(b'{"header":{' * 9 + header, v1=False, text=True) == expected
    assert request_in(b'{"header":{' * 99 + header, v1=False, text=True) == ("shell", {})


@pytest.mark.parametrize("message", [b"", b"\xff" * 100, b"{", b'{"header": {"msg_id": 1'])
def test_header_that_cannot_be_found_is_empty(message):
    for v1 in (True, False):
        assert request_in(message, v1=v1, text=not v1) == ("shell", {})
