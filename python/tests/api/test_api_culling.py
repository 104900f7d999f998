"""Kernels that are shut down because they are idle, or have reached their maximum lifetime."""

from datetime import timedelta

import aiohttp
import pytest

from api.running import running_gateway
from gateway_provisioners.gateway.kernels.peers import NoPeers


class RecordingPeers(NoPeers):
    """Records announcements to the other gateways; one of them is the leader if the test says so."""

    def __init__(self, *, is_leader=True, connected=0):
        self.started = {}
        self.activity = {}
        self._is_leader = is_leader
        self._connected = connected

    def is_leader(self):
        return self._is_leader

    def connections_elsewhere(self, kernel_id):
        return self._connected

    def announce_started(self, kernel_id, started):
        self.started[kernel_id] = started

    def announce_activity(self, kernel_id, last_activity):
        self.activity[kernel_id] = last_activity


@pytest.fixture
def add_limited(add_kernelspec):
    def add(name, **limits):
        provisioner = {"kernel_provisioner": {"provisioner_name": "local-provisioner"}}
        add_kernelspec(name, metadata={**provisioner, **limits})

    return add


def aged(gateway, kernel_id, seconds):
    """Make a kernel that much older, and idle for that long."""
    manager = gateway.app.kernel_manager
    manager.stop_watching_activity(kernel_id)  # late messages of its start would count as activity
    kernel = manager.get_kernel(kernel_id)
    kernel.started -= timedelta(seconds=seconds)
    kernel.last_activity -= timedelta(seconds=seconds)
    return kernel


async def test_a_kernels_greeting_does_not_count_as_activity(gateway):
    manager = gateway.app.kernel_manager
    greetings = ["iopub_welcome", None, "status", "kernel_info_reply"]
    assert not any(map(manager.track_message_type, greetings))
    assert manager.track_message_type("execute_request")


async def culled(gateway):
    """Cull; return the kernels that are left, and the counts of those that are not."""
    await gateway.app.kernel_manager.culler.cull()
    metrics = await gateway.probes.request("GET", "/metrics")
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


async def test_a_kernels_idle_timeout_needs_no_global_one(add_limited):
    add_limited("soon", cull_idle_timeout=60)
    async with running_gateway() as gateway:
        soon, plain = await gateway.client.start("soon"), await gateway.client.start("local")
        aged(gateway, soon, 61)
        aged(gateway, plain, 10**6)
        assert (await culled(gateway))[0] == {plain}
        assert gateway.app.kernel_manager.culler._timer.is_running()


async def test_a_kernel_with_a_client_at_another_gateway_is_not_idle(add_limited):
    add_limited("soon", cull_idle_timeout=60)
    async with running_gateway() as gateway:
        soon = await gateway.client.start("soon")
        aged(gateway, soon, 61)
        gateway.app.kernel_manager.peers = RecordingPeers(connected=1)
        assert (await culled(gateway))[0] == {soon}
        gateway.app.kernel_manager.peers = RecordingPeers()
        assert (await culled(gateway))[0] == set()


async def test_a_busy_kernel_is_shut_down_at_its_max_lifetime(add_limited, caplog):
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
            received = []
            while (message := await channels._websocket.receive()).type is aiohttp.WSMsgType.TEXT:
                received.append(message.json()["content"])
            assert {"execution_state": "dead"} in received
            text = "".join(content.get("text", "") for content in received)
            assert "it has reached its max_lifetime of 3600 seconds" in text
    (line,) = [record.getMessage() for record in caplog.records if "has run for" in record.message]
    assert line.startswith(f"Kernel {kernel_id} (short) is shut down: it has run for 36")
    assert line.endswith("seconds, and its max_lifetime is 3600.")


async def test_a_restart_does_not_extend_the_lifetime(add_limited):
    add_limited("short", max_lifetime=3600)
    async with running_gateway() as gateway:
        kernel_id = await gateway.client.start("short")
        aged(gateway, kernel_id, 3500)
        await gateway.client.restart(kernel_id)
        gateway.app.kernel_manager.peers = others = RecordingPeers()
        assert (await culled(gateway))[0] == {kernel_id}
        kernel = aged(gateway, kernel_id, 101)
        assert others.started == {kernel_id: (kernel.started + timedelta(seconds=101)).isoformat()}
        assert (await culled(gateway))[0] == set()


async def test_only_the_leader_culls(add_limited):
    add_limited("short", max_lifetime=60, cull_idle_timeout=60)
    async with running_gateway() as gateway:
        kernel_id = await gateway.client.start("short")
        aged(gateway, kernel_id, 61)
        gateway.app.kernel_manager.peers = others = RecordingPeers(is_leader=False)
        assert (await culled(gateway))[0] == {kernel_id}
        assert not others.started
        assert not others.activity


async def test_an_invalid_limit_does_not_protect_other_kernels(add_limited, caplog):
    add_limited("broken", max_lifetime="a day")
    add_limited("short", max_lifetime=60)
    async with running_gateway() as gateway:
        broken, short = await gateway.client.start("broken"), await gateway.client.start("short")
        aged(gateway, short, 61)
        assert (await culled(gateway))[0] == {broken}
    assert f"Kernel {broken} cannot be culled: ValueError" in caplog.text
