"""The response server with silent, slow, garbled, forging and very many peers."""

import asyncio
import base64
import contextlib
import logging
import socket

import pytest
from command_peer import connection
from launched import KERNEL_ID

from gateway_provisioners.errors import ConfigurationError
from gateway_provisioners.gateway.process.logs import MOST_RECORDS, FloodFilter
from gateway_provisioners.handshake import payload, response_server
from gateway_provisioners.handshake.response_server import ResponseServer
from kernel_launcher import wire
from timeouts import TIMEOUT_SECONDS, within_timeout

INFO = {
    "shell_port": 1,
    "iopub_port": 2,
    "stdin_port": 3,
    "control_port": 4,
    "hb_port": 5,
    "comm_port": 6,
    "ip": "10.0.0.7",
    "key": "hush-hush",
    "transport": "tcp",
    "signature_scheme": "hmac-sha256",
    "kernel_id": KERNEL_ID,
}


def report_v2(launch_key, kernel_id=KERNEL_ID, **changes):
    key = wire.LaunchKey(base64.b64decode(launch_key), kernel_id)
    return key.connection_info({**INFO, "kernel_id": kernel_id, **changes})


def report_v1(server, **changes):
    return wire.GatewayKey(server.public_key).connection_info({**INFO, **changes})


def connected(server, source="127.0.0.1", address=""):
    host, port = (address or server.response_address).split(":")
    return connection(host, int(port), local_addr=(source, 0))


async def closed(reader):
    """Wait until the server closes; it never says anything."""
    with contextlib.suppress(ConnectionResetError):
        assert await within_timeout(reader.read()) == b""


async def send(server, blob, source="127.0.0.1", address=""):
    async with connected(server, source, address) as (reader, writer):
        writer.write(blob)
        with contextlib.suppress(OSError):
            writer.write_eof()
        await closed(reader)


async def arrival_of(expectation):
    return await within_timeout(expectation.next_arrival())


async def test_authenticated_report(server):
    key = payload.new_launch_key()
    with server.expect(KERNEL_ID, key) as expectation:
        await send(server, report_v2(key))
        arrival = await arrival_of(expectation)
    assert (arrival.protocol, arrival.peer_ip) == (2, "127.0.0.1")
    assert (arrival.connection_info.ip, arrival.connection_info.key) == ("10.0.0.7", "hush-hush")
    assert "hush" not in repr(arrival)
    assert key not in repr(expectation)


@pytest.mark.attack(11)
async def test_second_report_with_the_launch_key_is_refused(server, caplog):
    """Code in the kernel reads the launch key in /proc, but its launcher has reported."""
    key = payload.new_launch_key()
    caplog.set_level(logging.INFO)
    with server.expect(KERNEL_ID, key) as expectation:
        await send(server, report_v2(key, comm_port=61))
        await send(server, report_v2(key, comm_port=62))
        assert (await arrival_of(expectation)).connection_info.comm_port == 61
        await send(server, report_v2(key, comm_port=63))
        assert not expectation._arrived.is_set()
    assert caplog.text.count("the launch has already reported") == 2


async def test_fresh_key_replaces_the_launch_key(server):
    key, fresh = payload.new_launch_key(), payload.new_launch_key()
    with server.expect(KERNEL_ID, key) as expectation:
        await send(server, report_v2(key, features=["fresh-key"], fresh_key=fresh))
        arrival = await arrival_of(expectation)
    assert arrival.secret == fresh
    assert fresh not in repr(arrival)


async def test_blob_in_pieces(server):
    key = payload.new_launch_key()
    with server.expect(KERNEL_ID, key) as expectation:
        async with connected(server) as (reader, writer):
            for byte in report_v2(key):
                writer.write(bytes([byte]))
                await writer.drain()
            writer.write_eof()
            await closed(reader)
        assert (await arrival_of(expectation)).protocol == 2


@pytest.mark.attack(12)
async def test_unauthenticated_report_comes_with_its_address(server):
    """Version 1 proves nothing: every claim is handed on, what is proven goes first."""
    key = payload.new_launch_key()
    with server.expect(KERNEL_ID, key) as expectation:
        await send(server, report_v1(server, comm_port=66), "127.0.0.2")
        first = await arrival_of(expectation)
        assert (first.protocol, first.peer_ip) == (1, "127.0.0.2")
        await send(server, report_v1(server, comm_port=67), "127.0.0.2")
        await send(server, report_v1(server, comm_port=68), "127.0.0.2")
        await send(server, report_v1(server, comm_port=69), "127.0.0.3")
        await asyncio.gather(*server._tasks)
        await send(server, report_v2(key))
        arrivals = [await arrival_of(expectation) for _ in range(3)]
    # One claim per address is remembered, the latest.
    assert [(a.protocol, a.connection_info.comm_port) for a in arrivals] == [
        (2, 6),
        (1, 68),
        (1, 69),
    ]


@pytest.mark.attack(12)
async def test_a_version_1_report_cannot_claim_version_2(server):
    with server.expect(KERNEL_ID, None) as expectation:
        await send(server, report_v1(server, protocol=2))
        arrival = await arrival_of(expectation)
    assert (arrival.protocol, arrival.connection_info.protocol) == (1, 1)


@pytest.mark.attack(12)
async def test_forged_reports_are_rejected(server, caplog):
    caplog.set_level(logging.DEBUG)
    key, other_key = payload.new_launch_key(), payload.new_launch_key()
    with (
        server.expect(KERNEL_ID, key) as expectation,
        server.expect("another-kernel", other_key) as other,
    ):
        # The other launch's key, for this kernel, and the other way round.
        await send(server, report_v2(other_key))
        await send(server, report_v2(key, "another-kernel"))
        await send(server, report_v2(other_key, kernel_id="a-third"))
        for garbage in (b"", b"\0\xff" * 500, b"hush-hush" * 500, base64.b64encode(b'{"hush": 1}')):
            await send(server, garbage)
        await send(server, report_v2(key, comm_port=61))
        await send(server, report_v2(other_key, "another-kernel", comm_port=62))
        assert (await arrival_of(expectation)).connection_info.comm_port == 61
        assert (await arrival_of(other)).connection_info.comm_port == 62
    assert "hush" not in caplog.text
    assert key not in caplog.text


async def test_version_2_without_a_launch_key_is_refused(server):
    with server.expect(KERNEL_ID, None) as expectation:
        await send(server, report_v2(payload.new_launch_key()))
        await send(server, report_v1(server))
        assert (await arrival_of(expectation)).protocol == 1


async def test_nothing_arrives_after_the_end(server):
    key = payload.new_launch_key()
    with server.expect(KERNEL_ID, key) as expectation:
        pass
    await send(server, report_v2(key))
    assert not expectation._arrived.is_set()


async def test_the_end_of_an_earlier_expectation_leaves_the_later_one(server):
    key = payload.new_launch_key()
    earlier = contextlib.ExitStack()
    earlier.enter_context(server.expect(KERNEL_ID, payload.new_launch_key()))
    with server.expect(KERNEL_ID, key) as later:
        earlier.close()
        await send(server, report_v2(key, comm_port=62))
        assert (await arrival_of(later)).connection_info.comm_port == 62


async def test_later_expectation_of_a_kernel_replaces_the_earlier(server):
    old_key, new_key = payload.new_launch_key(), payload.new_launch_key()
    with server.expect(KERNEL_ID, old_key) as old, server.expect(KERNEL_ID, new_key) as new:
        await send(server, report_v2(old_key, comm_port=61))
        await send(server, report_v2(new_key, comm_port=62))
        assert (await arrival_of(new)).connection_info.comm_port == 62
        assert not old._arrived.is_set()


async def test_silent_peers_are_disconnected(server, monkeypatch):
    monkeypatch.setattr(response_server, "READ_SECONDS", 0.01)
    async with connected(server) as (reader, writer):
        writer.write(b"eyJ2")
        await closed(reader)


async def test_endless_peers_are_disconnected(server):
    async with connected(server) as (reader, writer):
        with contextlib.suppress(ConnectionError):
            for _ in range(200):
                writer.write(b"A" * 1024)
                await writer.drain()
        await closed(reader)


@pytest.mark.attack(20)
async def test_many_connections_of_one_peer_are_dropped_first(server, monkeypatch):
    monkeypatch.setattr(response_server, "MAX_CONNECTIONS", 8)
    key = payload.new_launch_key()
    async with contextlib.AsyncExitStack() as stack:
        slow = await stack.enter_async_context(connected(server, "127.0.0.2"))
        blob = report_v2(key)
        slow[1].write(blob[:100])
        many = [await stack.enter_async_context(connected(server, "127.0.0.3")) for _ in range(20)]
        for reader, _ in many[:12]:
            with pytest.raises(ConnectionResetError):  # on which a launcher tries again
                await within_timeout(reader.read())
        with server.expect(KERNEL_ID, key) as expectation:
            slow[1].write(blob[100:])
            slow[1].write_eof()
            assert (await arrival_of(expectation)).peer_ip == "127.0.0.2"


async def test_reports_of_dropped_connections_are_not_kept(server, monkeypatch):
    """Reports may arrive faster than they are read."""
    monkeypatch.setattr(response_server, "MAX_CONNECTIONS", 8)
    monkeypatch.setattr(server, "_process_next", lambda: None)
    async with contextlib.AsyncExitStack() as stack:
        with server.expect(KERNEL_ID, payload.new_launch_key()):
            peers = []
            for _ in range(20):
                reader, writer = await stack.enter_async_context(connected(server))
                writer.write(b"A" * 60_000)
                writer.write_eof()
                peers.append(reader)
            for reader in peers[:12]:
                await closed(reader)
    assert len(server._received) <= 8


def undecipherable_v1():
    key = wire.GatewayKey(payload.GatewayKey.generate().public_key)
    return key.connection_info(INFO)


USELESS = {
    "of another shape": lambda: base64.b64encode(b"[" + b"[]," * 16_000 + b"[]]"),
    "of another launch": lambda: report_v2(payload.new_launch_key(), "another-kernel"),
    "under another gateway's key": undecipherable_v1,
}


@pytest.mark.attack(20)
@pytest.mark.parametrize("useless", USELESS)
async def test_flood_of_useless_reports_is_not_read_and_not_logged(
    server, monkeypatch, caplog, useless
):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(response_server, "SECONDS_PER_REPORT", 1000.0)
    blob, key = USELESS[useless](), payload.new_launch_key()
    with server.expect(KERNEL_ID, key) as expectation:
        for _ in range(response_server.BURST + 30):
            await send(server, blob, "127.0.0.3")
            await asyncio.gather(*server._tasks)
        await send(server, report_v2(key), "127.0.0.2")
        assert (await arrival_of(expectation)).peer_ip == "127.0.0.2"
    lines = sum("Ignored a payload from 127.0.0.3" in text for text in caplog.messages)
    assert 0 < lines <= response_server.BURST + 1


@pytest.mark.attack(13)
async def test_flood_of_claims_leaves_room_for_others(server, monkeypatch):
    """RSA takes time, so one address gets a few operations at a time, and the rest is dropped."""
    opened = []
    release = asyncio.Event()
    loop = asyncio.get_running_loop()
    real = payload.open_v1

    def slow_open_v1(envelope, key):
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result(TIMEOUT_SECONDS)
        kernel_id, info = real(envelope, key)
        opened.append(info.comm_port)
        return kernel_id, info

    monkeypatch.setattr(payload, "open_v1", slow_open_v1)
    with server.expect(KERNEL_ID, None) as expectation:
        for port in range(100, 120):
            await send(server, report_v1(server, comm_port=port), "127.0.0.3")
        await send(server, report_v1(server, comm_port=99), "127.0.0.2")
        release.set()
        await asyncio.gather(*server._tasks)
        peers = {(await arrival_of(expectation)).peer_ip for _ in range(2)}
    assert peers == {"127.0.0.2", "127.0.0.3"}
    assert len(opened) == response_server.MAX_OPENING_PER_PEER + 1


@pytest.mark.attack(13)
async def test_claims_of_one_launch_are_bounded(server, monkeypatch):
    monkeypatch.setattr(response_server, "MAX_CLAIMS", 3)
    key = payload.new_launch_key()
    with server.expect(KERNEL_ID, key) as expectation:
        for host in range(2, 12):
            await send(server, report_v1(server), f"127.0.0.{host}")
            await asyncio.gather(*server._tasks)
        await send(server, report_v2(key))
        assert (await arrival_of(expectation)).protocol == 2
        assert [(await arrival_of(expectation)).peer_ip for _ in range(3)] == [
            "127.0.0.2",
            "127.0.0.3",
            "127.0.0.4",
        ]


@pytest.mark.attack(13)
async def test_strangers_cannot_keep_a_launch_from_being_heard(server):
    with server.expect(KERNEL_ID, None) as expectation:
        for host in range(17):
            await send(server, report_v1(server), f"127.0.1.{host + 1}")
        await send(server, report_v1(server, comm_port=99), "127.0.0.2")
        await asyncio.gather(*server._tasks)
        arrivals = [await arrival_of(expectation) for _ in range(18)]
    assert (arrivals[-1].peer_ip, arrivals[-1].connection_info.comm_port) == ("127.0.0.2", 99)


async def test_claims_of_all_launches_are_bounded(server, monkeypatch):
    monkeypatch.setattr(response_server, "MAX_ALL_CLAIMS", 2)
    with server.expect(KERNEL_ID, None) as first, server.expect("another-kernel", None) as other:
        for kernel_id in (KERNEL_ID, "another-kernel", KERNEL_ID):
            await send(
                server, report_v1(server, kernel_id=kernel_id), f"127.0.0.{first.claims + 2}"
            )
            await asyncio.gather(*server._tasks)
        assert (first.claims, other.claims) == (1, 1)


async def test_many_launches_at_once(server):
    keys = {f"kernel-{number}": payload.new_launch_key() for number in range(50)}
    with contextlib.ExitStack() as stack:
        expected = {k: stack.enter_context(server.expect(k, key)) for k, key in keys.items()}
        await asyncio.gather(
            *(
                send(server, report_v2(key, kernel, comm_port=1000 + number))
                for number, (kernel, key) in enumerate(keys.items())
            )
        )
        for number, expectation in enumerate(expected.values()):
            assert (await arrival_of(expectation)).connection_info.comm_port == 1000 + number


async def test_stop_closes_everything(gateway_key):
    server = ResponseServer("127.0.0.1", 0, 0, gateway_key)
    assert not server.listening
    await server.start()
    assert server.listening
    async with connected(server) as (reader, _):
        await server.stop()
        await closed(reader)
    assert not server.listening
    host, port = server.response_address.split(":")
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(host, int(port))
    await server.stop()


async def test_taken_port(gateway_key):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"none of the response ports {port}"):
            await ResponseServer("127.0.0.1", port, 0, gateway_key).start()
        server = ResponseServer("127.0.0.1", port, 20, gateway_key)
        await server.start()
        assert port < int(server.response_address.split(":")[1]) <= port + 20
        await server.stop()


async def test_address_of_another_host(gateway_key):
    with pytest.raises(ConfigurationError, match="GP_RESPONSE_IP"):
        await ResponseServer("192.0.2.1", 0, 0, gateway_key).start()
    server = ResponseServer("192.0.2.1", 0, 0, gateway_key, bind_any=True)
    await server.start()
    host, port = server.response_address.split(":")
    assert host == "192.0.2.1"
    _, writer = await asyncio.open_connection("127.0.0.1", int(port))
    writer.close()
    await writer.wait_closed()
    await server.stop()


async def is_refused(address):
    host, port = address.split(":")
    try:
        _, writer = await asyncio.open_connection(host, int(port))
    except ConnectionRefusedError:
        return True
    writer.close()
    return False


async def test_each_launch_has_the_address_that_its_kernel_can_reach(gateway_key):
    server = ResponseServer("", 0, 0, gateway_key)
    await server.start()
    assert server.listening  # though nowhere until the first launch
    assert server.response_address == ""
    key = payload.new_launch_key()
    with server.expect("first", key) as first, server.expect("second", key) as second:
        office = await server.listen(first, "127.0.0.2")
        home, same = await asyncio.gather(*(server.listen(second, "127.0.0.3") for _ in range(2)))
        assert home == same
        for expectation, address in ((first, office), (second, home)):
            blob = report_v2(key, expectation.kernel_id)
            await send(server, blob, address=address)
            assert (await arrival_of(expectation)).protocol == 2
    # It stays open for the next launch, until that needs another one.
    with server.expect("third", key) as third:
        assert await server.listen(third, "127.0.0.3") == home
        assert not await is_refused(office)
        await server.listen(third, "127.0.0.4")
        assert await is_refused(office)
        assert await is_refused(home)
    await server.stop()
    assert not server.listening


async def test_the_address_that_is_set_stays_open(gateway_key):
    server = ResponseServer("127.0.0.2", 0, 0, gateway_key)
    await server.start()
    with server.expect("first", payload.new_launch_key()) as first:
        assert await server.listen(first, "127.0.0.2") == server.response_address
        await server.listen(first, "127.0.0.3")
        assert not await is_refused(server.response_address)
    await server.stop()


async def test_listening_everywhere_is_one_listener_for_all_addresses(gateway_key):
    server = ResponseServer("", 0, 0, gateway_key, bind_any=True)
    await server.start()
    with server.expect("first", payload.new_launch_key()) as first:
        office = await server.listen(first, "127.0.0.2")
        home = await server.listen(first, "127.0.0.3")
        assert office.split(":")[1] == home.split(":")[1]
        assert not await is_refused(office)
    await server.stop()


async def test_an_address_that_vanished_is_an_error_of_its_launch_alone(gateway_key):
    server = ResponseServer("", 0, 0, gateway_key)
    await server.start()
    with server.expect("first", payload.new_launch_key()) as first:
        with pytest.raises(ConfigurationError, match="GP_RESPONSE_IP"):
            await server.listen(first, "192.0.2.1")
        assert not await is_refused(await server.listen(first, "127.0.0.2"))
    await server.stop()


@pytest.mark.attack(20)
async def test_flood_of_reports_leaves_every_other_turn_of_the_loop_to_others(server, monkeypatch):
    """Counted in turns of the event loop: of all that came at once, one report is read in each."""
    turn = 0
    read = []
    loop = asyncio.get_running_loop()
    real = payload.parse_envelope

    def next_turn():
        nonlocal turn, handle
        turn += 1
        handle = loop.call_soon(next_turn)

    def parse_envelope(blob):
        read.append(turn)
        return real(blob)

    monkeypatch.setattr(payload, "parse_envelope", parse_envelope)
    handle = loop.call_soon(next_turn)
    blob, key = USELESS["of another shape"](), payload.new_launch_key()
    with server.expect(KERNEL_ID, key) as expectation:
        await asyncio.gather(*(send(server, blob, f"127.0.1.{each}") for each in range(1, 101)))
        await send(server, report_v2(key))
        assert (await arrival_of(expectation)).peer_ip == "127.0.0.1"
    handle.cancel()
    assert len(read) == 101
    assert len(set(read)) == len(read)


@pytest.mark.attack(20)
async def test_flood_from_many_addresses_is_a_bounded_number_of_log_lines(server, caplog):
    """Each address may be logged a few times, and all of them together as often as any other record."""
    caplog.set_level(logging.INFO)
    caplog.handler.addFilter(flood := FloodFilter(now=lambda: 0.0))
    blob = report_v2(payload.new_launch_key(), "another-kernel")
    with server.expect(KERNEL_ID, payload.new_launch_key()):
        for round_ in range(3):
            sources = [f"127.0.{1 + each // 200}.{1 + each % 200}" for each in range(200)]
            await asyncio.gather(*(send(server, blob, source) for source in sources))
            assert len(server._due) == 200, round_
    caplog.handler.removeFilter(flood)
    assert sum("Ignored a payload" in text for text in caplog.messages) == MOST_RECORDS
