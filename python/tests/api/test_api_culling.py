"""Kernels that end because they are idle, or have run for as long as they may."""

from datetime import timedelta

import aiohttp
import pytest

from api.running import running_gateway
from gateway_provisioners.gateway.kernels.peers import NoPeers


class Told(NoPeers):
    """Remembers what the other gateways are told, and lets another one lead if the test says so."""

    def __init__(self, *, is_leader=True, connected=0):
        self.started = {}
        self.activity = {}
        self._is_leader = is_leader
        self._connected = connected

    def is_leader(self):
        return self._is_leader

    def connections_elsewhere(self, kernel_id):
        return self._connected

    def tell_started(self, kernel_id, started):
        self.started[kernel_id] = started

    def tell_activity(self, kernel_id, last_activity):
        self.activity[kernel_id] = last_activity


@pytest.fixture
def add_limited(add_kernelspec):
    def add(name, **limits):
        provisioner = {"kernel_provisioner": {"provisioner_name": "local-provisioner"}}
        add_kernelspec(name, metadata={**provisioner, **limits})

    return add


def aged(gateway, kernel_id, seconds):
    """Make a kernel so much older, and so long idle."""
    manager = gateway.app.kernel_manager
    manager.stop_watching_activity(kernel_id)  # what it still says of its start would be activity
    kernel = manager.get_kernel(kernel_id)
    kernel.started -= timedelta(seconds=seconds)
    kernel.last_activity -= timedelta(seconds=seconds)
    return kernel


async def test_how_a_kernel_greets_who_listens_is_no_activity(gateway):
    manager = gateway.app.kernel_manager
    greetings = ["iopub_welcome", None, "status", "kernel_info_reply"]
    assert not any(map(manager.track_message_type, greetings))
    assert manager.track_message_type("execute_request")


async def culled(gateway):
    """The kernels that are there when the gateway has looked, and its counts of those that are not."""
    await gateway.app.kernel_manager.cull_kernels()
    metrics = await gateway.client.request("GET", "/metrics")
    prefix = "gateway_provisioners_kernels_culled_total"
    counts = {line.removeprefix(prefix) for line in metrics.splitlines() if line.startswith(prefix)}
    return set(await gateway.client.kernels()), counts


async def test_a_kernel_has_an_idle_timeout_of_its_own(add_limited, monkeypatch):
    monkeypatch.setenv("GP_CULL_IDLE_TIMEOUT", "3600")
    add_limited("soon", cull_idle_timeout=60)
    add_limited("never", cull_idle_timeout=0)
    async with running_gateway() as gateway:
        soon, never, plain = [
            await gateway.client.start(name) for name in ("soon", "never", "local")
        ]
        for kernel_id, seconds in {soon: 61, never: 10**6, plain: 3590}.items():
            aged(gateway, kernel_id, seconds)
        left, counts = await culled(gateway)
        assert left == {never, plain}
        aged(gateway, plain, 60)
        left, counts = await culled(gateway)
        assert left == {never}
        assert counts == {'{cause="idle",kernel="soon"} 1.0', '{cause="idle",kernel="local"} 1.0'}


async def test_an_idle_timeout_needs_none_for_all_kernels(add_limited):
    add_limited("soon", cull_idle_timeout=60)
    async with running_gateway() as gateway:
        soon, plain = await gateway.client.start("soon"), await gateway.client.start("local")
        aged(gateway, soon, 61)
        aged(gateway, plain, 10**6)
        assert (await culled(gateway))[0] == {plain}
        assert gateway.app.kernel_manager._culler_callback.is_running()


async def test_a_kernel_is_not_idle_whose_client_is_connected_to_another_gateway(add_limited):
    add_limited("soon", cull_idle_timeout=60)
    async with running_gateway() as gateway:
        soon = await gateway.client.start("soon")
        aged(gateway, soon, 61)
        gateway.app.kernel_manager.peers = Told(connected=1)
        assert (await culled(gateway))[0] == {soon}
        gateway.app.kernel_manager.peers = Told()
        assert (await culled(gateway))[0] == set()


async def test_a_busy_kernel_ends_with_its_lifetime_and_its_client_is_told(add_limited, caplog):
    add_limited("short", max_lifetime=3600)
    async with running_gateway() as gateway:
        kernel_id = await gateway.client.start("short")
        async with gateway.client.channels(kernel_id) as channels:
            code = {"code": "import time; print('busy'); time.sleep(600)", "silent": False}
            await channels.send("shell", "execute_request", code)
            while (await channels.receive())["header"]["msg_type"] != "stream":
                pass
            kernel = aged(gateway, kernel_id, 3601)
            process = kernel.provisioner.process
            left, counts = await culled(gateway)
            assert left == set()
            assert counts == {'{cause="lifetime",kernel="short"} 1.0'}
            assert process.poll() is not None
            told = []
            while (message := await channels._websocket.receive()).type is aiohttp.WSMsgType.TEXT:
                told.append(message.json()["content"])
            assert {"execution_state": "dead"} in told
            assert any("it may run for 3600 seconds" in content.get("text", "") for content in told)
    (line,) = [record.getMessage() for record in caplog.records if "has run for" in record.message]
    assert line.startswith(f"Kernel {kernel_id} (short) has run for 36")
    assert line.endswith("seconds and is ended: it may run for 3600 (max_lifetime).")


async def test_a_restart_is_no_new_kernel(add_limited):
    add_limited("short", max_lifetime=3600)
    async with running_gateway() as gateway:
        kernel_id = await gateway.client.start("short")
        aged(gateway, kernel_id, 3500)
        await gateway.client.restart(kernel_id)
        gateway.app.kernel_manager.peers = others = Told()
        assert (await culled(gateway))[0] == {kernel_id}
        kernel = aged(gateway, kernel_id, 101)
        assert others.started == {kernel_id: (kernel.started + timedelta(seconds=101)).isoformat()}
        assert (await culled(gateway))[0] == set()


async def test_only_one_gateway_ends_kernels(add_limited):
    add_limited("short", max_lifetime=60, cull_idle_timeout=60)
    async with running_gateway() as gateway:
        kernel_id = await gateway.client.start("short")
        aged(gateway, kernel_id, 61)
        gateway.app.kernel_manager.peers = others = Told(is_leader=False)
        assert (await culled(gateway))[0] == {kernel_id}
        assert not others.started
        assert not others.activity


async def test_a_limit_that_cannot_be_read_keeps_no_other_kernel_from_ending(add_limited, caplog):
    add_limited("broken", max_lifetime="a day")
    add_limited("short", max_lifetime=60)
    async with running_gateway() as gateway:
        broken, short = await gateway.client.start("broken"), await gateway.client.start("short")
        aged(gateway, short, 61)
        assert (await culled(gateway))[0] == {broken}
    assert f"Kernel {broken} cannot be culled: ValueError" in caplog.text
