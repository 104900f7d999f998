"""Kernels that do not start, restart or end: reports to clients and operators."""

import asyncio
import os
import signal

import aiohttp
import pytest

from api.provisioners import IMAGE_MISSING, Evicted, Failing, FailingAs, FailingLater, Unkillable
from api.running import running_gateway
from ci.gateway_client import Refused
from gateway_provisioners.errors import LaunchFailed
from message_words import unwrapped


@pytest.fixture
def kernels_die_fast(monkeypatch):
    """Make the restarter notice a death soon."""
    from gateway_provisioners.gateway.kernels.restarter import GatewayKernelRestarter

    monkeypatch.setattr(GatewayKernelRestarter, "time_to_dead", 0.05)
    monkeypatch.setattr(GatewayKernelRestarter, "restart_limit", 2)


def process_of(gateway, kernel_id):
    return gateway.app.kernel_manager.get_kernel(kernel_id).provisioner.process


async def test_a_failed_start_reports_its_cause_and_leaves_nothing(add_provisioner, caplog):
    add_provisioner("failing", Failing)
    async with running_gateway() as gateway:
        with pytest.raises(Refused) as refused:
            await gateway.client.start("failing")
        assert refused.value.status == 500
        assert refused.value.reason == "ImagePull"
        assert refused.value.message == str(IMAGE_MISSING)
        manager = gateway.app.kernel_manager
        assert not manager._kernels
        assert not manager._pending_kernels
        assert not manager.starts.ids
    logged = [record for record in caplog.records if str(IMAGE_MISSING) in record.getMessage()]
    assert len(logged) == 1
    assert "Traceback" not in caplog.text


async def test_a_start_that_may_succeed_later_is_503_and_says_when(add_provisioner):
    add_provisioner("failing_as", FailingAs)
    FailingAs.attempts = 0
    FailingAs.error = LaunchFailed("VolumeNotReady", "A volume is not ready.", can_pass=True)
    async with running_gateway() as gateway:
        body = {"name": "failing_as"}
        async with (
            aiohttp.ClientSession(
                headers={"Authorization": f"token {gateway.client.token}"}
            ) as session,
            session.post(f"{gateway.client.url}/api/kernels", json=body) as response,
        ):
            assert response.status == 503
            assert int(response.headers["Retry-After"]) > 0
            assert (await response.json())["reason"] == "VolumeNotReady"


async def test_a_failed_start_of_a_session_reports_its_cause(add_provisioner):
    add_provisioner("failing", Failing)
    async with running_gateway() as gateway:
        body = {"path": "a.ipynb", "type": "notebook", "kernel": {"name": "failing"}}
        with pytest.raises(Refused) as refused:
            await gateway.client.request("POST", "/api/sessions", body)
        assert (refused.value.reason, refused.value.message) == ("ImagePull", str(IMAGE_MISSING))


async def test_a_failed_restart_reports_its_cause(add_provisioner):
    add_provisioner("failing_later", FailingLater)
    async with running_gateway() as gateway:
        kernel_id = await gateway.client.start("failing_later")
        with pytest.raises(Refused) as refused:
            await gateway.client.restart(kernel_id)
        assert (refused.value.reason, refused.value.message) == ("ImagePull", str(IMAGE_MISSING))
        kernel = (await gateway.client.kernels())[kernel_id]
        assert kernel["execution_state"] == "dead"
        assert kernel["reason"] == str(IMAGE_MISSING)
        await gateway.client.delete(kernel_id)
        assert await gateway.client.kernels() == {}


async def test_the_cause_of_a_kernels_end_is_listed(add_provisioner):
    add_provisioner("evicted", Evicted)
    async with running_gateway() as gateway:
        kernel_id = await gateway.client.start("evicted")

        async def reason():
            return (await gateway.client.kernels())[kernel_id]["reason"]

        restarted = "The kernel ended and was restarted, without its variables. It was evicted."
        assert await reason() == restarted
        provisioner = gateway.app.kernel_manager.get_kernel(kernel_id).provisioner
        provisioner.is_known_to_live = False
        assert await reason() == "The kernel ended. It was evicted."
        with pytest.raises(Refused):
            await gateway.client.restart(kernel_id)
        assert await reason() == f"It was evicted. {IMAGE_MISSING}"


async def test_a_kernel_that_dies_is_restarted(gateway, kernels_die_fast):
    async with gateway.client.kernel("local") as channels:
        await channels.execute("x = 1")
        os.kill(process_of(gateway, channels.kernel_id).pid, signal.SIGKILL)
        while (await channels.receive())["content"].get("execution_state") != "restarting":
            pass
        # Anew: a local kernel keeps its ports, and a connection that stays may miss its first output.
        async with gateway.client.channels(channels.kernel_id) as again:
            assert (await again.execute("x")).error == "NameError"
    metrics = await gateway.probes.request("GET", "/metrics")
    assert 'kernel_restarts_total{cause="death",kernel="local"} 1.0' in metrics


async def test_a_kernel_that_cannot_be_restarted_is_given_up(add_provisioner, kernels_die_fast):
    add_provisioner("failing_later", FailingLater)
    async with running_gateway() as gateway:
        kernel_id = await gateway.client.start("failing_later")
        async with gateway.client.channels(kernel_id) as channels:
            os.kill(process_of(gateway, kernel_id).pid, signal.SIGKILL)
            said = []
            while (content := (await channels.receive())["content"]).get(
                "execution_state"
            ) != "dead":
                said.append(content.get("text", ""))
            tried = "The kernel has ended and could not be restarted; the gateway tries again. "
            given_up = "The kernel died too often and was shut down. "
            ended, *others = [text for text in said if text]
            assert ended.startswith("The kernel exited with code 137.")
            assert others == [
                f"{tried}{IMAGE_MISSING.message}\n",
                f"{given_up}{IMAGE_MISSING.message}\n",
            ]
            await asyncio.gather(*gateway.app.kernel_manager._pending_shutdowns)
            assert await gateway.client.kernels() == {}
        with pytest.raises(Refused) as refused:
            await gateway.client.request("GET", f"/api/kernels/{kernel_id}")
        assert unwrapped(refused.value.message) == (
            f"{given_up}{IMAGE_MISSING.message} Kernel does not exist: {kernel_id}"
        )
        metrics = await gateway.probes.request("GET", "/metrics")
        assert (
            'kernel_restart_failures_total{kernel="failing_later",reason="ImagePull"} 2.0'
            in metrics
        )


async def test_a_shutdown_that_failed_can_be_tried_again(add_provisioner):
    add_provisioner("unkillable", Unkillable)
    async with running_gateway() as gateway:
        kernel_id = await gateway.client.start("unkillable")
        process = process_of(gateway, kernel_id)
        with pytest.raises(Refused) as refused:
            await gateway.client.delete(kernel_id)
        assert refused.value.message == "The cluster did not answer."
        assert kernel_id in await gateway.client.kernels()
        await gateway.client.delete(kernel_id)
        assert await gateway.client.kernels() == {}
        assert process.poll() is not None


async def test_deleting_a_kernel_twice_at_the_same_time(gateway):
    kernel_id = await gateway.client.start("local")
    await asyncio.gather(
        gateway.client.delete(kernel_id), gateway.client.delete(kernel_id), return_exceptions=True
    )
    assert await gateway.client.kernels() == {}


async def test_restarts_at_the_same_time_leave_one_kernel(gateway):
    kernel_id = await gateway.client.start("local")
    processes = []

    async def restart():
        await gateway.client.restart(kernel_id)
        processes.append(process_of(gateway, kernel_id))

    await asyncio.gather(restart(), restart(), restart())
    alive = {process.pid for process in processes if process.poll() is None}
    assert alive == {process_of(gateway, kernel_id).pid}
    async with gateway.client.channels(kernel_id) as channels:
        assert (await channels.execute("print(1)")).text == "1\n"


async def test_a_restart_does_not_bring_a_deleted_kernel_back(gateway):
    kernel_id = await gateway.client.start("local")
    kernel = gateway.app.kernel_manager.get_kernel(kernel_id)
    deleting = asyncio.create_task(gateway.client.delete(kernel_id))
    while not kernel.shutting_down:  # noqa: ASYNC110
        await asyncio.sleep(0)
    with pytest.raises(Refused) as refused:
        await gateway.client.restart(kernel_id)
    await deleting
    assert refused.value.status == 404
    assert not kernel.has_kernel
    assert await gateway.client.kernels() == {}
