"""The resumed connection of the client package, against gateways that confirm, do not, or lie."""

from __future__ import annotations

import asyncio
import json

import pytest
from gateway_provisioners_client.session import words
from gateway_provisioners_client.session.state import Phase

from api.scripted_gateway import id_of, scripted
from timeouts import within_timeout


def output(header, text):
    return words.stream(header, text, "stdout")


async def test_what_was_not_accepted_is_sent_again_in_order():
    async with scripted() as (gateway, client):
        first = await gateway.connection()
        await first.attach("a")
        headers = [await client.execute() for _ in range(3)]
        for header in headers:
            assert await first.message() == header
        await first.say("accepted", [id_of(headers[0])])
        await first.send("iopub", words.status(headers[0], "busy"))
        await client.until("status")
        await first.close()
        second = await gateway.connection()
        await second.attach("a")
        ids = [id_of(header) for header in headers[1:]]
        assert await second.text("resend") == {"attempt": "a", "ids": ids}
        for header in headers[1:]:
            assert await second.message() == header


async def test_nothing_is_sent_before_the_gateway_is_attached():
    async with scripted() as (gateway, client):
        header = await client.execute()
        first = await gateway.connection()
        await first.close()
        second = await gateway.connection()
        await second.attach("a")
        # It was never sent, so it is not one that is sent again.
        assert await second.message() == header


async def test_requests_of_another_attempt_end_and_are_not_sent_again():
    async with scripted() as (gateway, client):
        first = await gateway.connection()
        await first.attach("a")
        header = await client.execute()
        await first.message()
        await first.close()
        second = await gateway.connection()
        await second.attach("b")
        content = await client.until("execute_reply")
        assert "The kernel was restarted" in content["evalue"]
        assert await client.until("status") == {"execution_state": "idle"}
        later = await client.execute()
        assert await second.message() == later != header


async def test_requests_that_the_gateway_holds_for_the_new_attempt_live_on():
    async with scripted() as (gateway, client):
        connection = await gateway.connection()
        await connection.attach("a")
        held, lost = await client.execute(), await client.execute()
        for _ in range(2):
            await connection.message()
        await connection.attach("b", held=[id_of(held)])
        assert await client.until("execute_reply")
        assert client.remote.running == [held] != [lost]


async def test_without_confirmations_the_kernel_is_asked_what_was_lost():
    async with scripted(features="") as (gateway, client):
        first = await gateway.connection()
        header = await client.execute()
        assert await first.message() == header
        await first.close()
        second = await gateway.connection()
        probe = await second.message()
        assert json.loads(probe)["msg_type"] == "kernel_info_request"
        await second.send("iopub", output(header, "still running"))
        assert "reconnecting" in (await client.until("stream"))["text"]
        assert "Connected again" in (await client.until("stream"))["text"]
        assert (await client.until("stream"))["text"] == "still running"
        # The kernel answers in order: the cell was lost.
        await second.send("shell", words.message("kernel_info_reply", probe, {}))
        content = await client.until("execute_reply")
        assert "It is not known whether this ran" in content["evalue"]
        assert client.remote.running == []


async def test_what_came_before_is_not_given_again():
    async with scripted() as (gateway, client):
        first = await gateway.connection()
        await first.attach("a")
        header = await client.execute()
        await first.message()
        messages = [output(header, text) for text in ("1", "2", "3")]
        for message in messages[:2]:
            await first.send("iopub", message)
            await client.until("stream")
        await first.close()
        second = await gateway.connection()
        await second.attach("a")
        for message in messages:
            await second.send("iopub", message)
        texts = [(await client.until("stream"))["text"] for _ in range(3)]
        assert texts[-1] == "3"
        assert "Connected again" in texts[-2]


async def test_received_messages_are_counted_for_the_gateway():
    async with scripted() as (gateway, _):
        connection = await gateway.connection()
        await connection.attach("a")
        for number in range(3):
            await connection.send("iopub", output(b"{}", str(number)))
        count = 0
        while count < 3:
            count = await connection.text("received")
        assert count == 3


async def test_the_last_count_comes_before_the_end():
    async with scripted() as (gateway, client):
        connection = await gateway.connection()
        await connection.attach("a")
        await connection.send("iopub", output(b"{}", "1"))
        await client.until("stream")
        await client.remote.close()
        assert await connection.text("received") == 1


async def test_a_kernel_that_is_gone_ends_what_waits():
    async with scripted() as (gateway, client):
        connection = await gateway.connection()
        await connection.attach("a")
        await client.execute()
        await connection.message()
        gateway.exists = False
        await connection.close()
        content = await client.until("execute_reply")
        assert "does not exist any longer" in content["evalue"]
        await client.execute()
        content = await client.until("execute_reply")
        assert "does not exist any longer" in content["evalue"]
        assert client.states[-1].phase is Phase.GONE


async def test_a_client_waits_while_too_much_is_not_accepted():
    async with scripted() as (gateway, client):
        connection = await gateway.connection()
        await connection.attach("a")
        first = await client.execute()
        for _ in range(999):
            await client.execute()
        waiting = asyncio.create_task(client.execute())
        for _ in range(1000):
            await connection.message()
        assert not waiting.done()
        await connection.say("accepted", [id_of(first)])
        await within_timeout(waiting)


@pytest.mark.attack(22)
@pytest.mark.parametrize("data", [b"", b"\xff" * 100, b"\x00" * 100])
async def test_malformed_messages_of_a_gateway_end_the_connection_only(data):
    async with scripted() as (gateway, client):
        first = await gateway.connection()
        await first.attach("a")
        await first.send_bytes(data)
        second = await gateway.connection()
        await second.attach("a")
        header = await client.execute()
        assert await second.message() == header


@pytest.mark.attack(22)
@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"accepted": 5}',
        '{"accepted": [[], {}, null, 7]}',
        '{"attached": []}',
        "[" * 100_000,
        '{"unknown": 1}',
    ],
)
async def test_text_of_a_gateway_that_makes_no_sense_changes_nothing(text):
    async with scripted() as (gateway, client):
        connection = await gateway.connection()
        await connection.attach("a")
        await connection.send_text(text)
        header = await client.execute()
        assert await connection.message() == header


@pytest.mark.attack(22)
@pytest.mark.parametrize(
    "part", [b"", b"[]", b"\xff", b"[" * 100_000, b'{"msg_id": [], "msg_type": 5}']
)
async def test_headers_of_a_kernel_that_make_no_sense_are_passed_on(part):
    async with scripted() as (gateway, client):
        connection = await gateway.connection()
        await connection.attach("a")
        await connection.send("iopub", [part] * 4)
        assert await within_timeout(client.delivered.get()) == ("iopub", [part] * 4)
