"""The progress of a start, as its user follows it; and ids that users choose for their kernels."""

import asyncio
import contextlib
import json
import time
import uuid

import aiohttp
import pytest

from api.provisioners import IMAGE_MISSING, Pulling, Slow
from api.running import running_gateway
from api.test_api_ownership import TOKENS, client_of, methods, share
from ci.gateway_client import Refused
from gateway_provisioners.gateway.http import progress_handler
from gateway_provisioners.gateway.http.progress_streams import MOST_STREAMS
from gateway_provisioners.gateway.kernels.kernel import GatewayKernel
from gateway_provisioners.gateway.kernels.peers import NoPeers
from gateway_provisioners.model.launch_progress import LaunchProgress, Phase, Stage
from gateway_provisioners.model.ownership import Ownership
from gateway_provisioners.provisioners.http_errors import as_http_errors
from message_words import unwrapped
from timeouts import eventually, within_timeout

REQUESTED = {"phase": "requested", "message": "The kernel is being started."}
PULLING = {"phase": "pulling", "message": "The node is pulling the image 'acme/x:1'."}


@pytest.fixture
async def gateway(tmp_path, monkeypatch):
    folder = tmp_path / "people"
    folder.mkdir()
    monkeypatch.setenv("GP_AUTH_METHODS", methods(folder))
    async with running_gateway(drain_seconds=0) as running:
        yield running


@pytest.fixture
def slow(add_provisioner, monkeypatch):
    """The kernel `slow`, which starts when `go_on` is set."""
    add_provisioner("slow", Pulling)
    for name, value in (("launching", asyncio.Event()), ("go_on", asyncio.Event())):
        monkeypatch.setattr(Slow, name, value, raising=False)
    monkeypatch.setattr(Slow, "abandoned", False, raising=False)
    return Slow


@pytest.fixture
def often(monkeypatch):
    monkeypatch.setattr(progress_handler, "REPEAT_SECONDS", 0.02)


async def post(gateway, kernel_id, user="alice", name="slow"):
    async with client_of(gateway, user) as client:
        body = {"name": name, "kernel_id": kernel_id}
        return await client.request("POST", "/api/kernels", body)


@contextlib.asynccontextmanager
async def starting(gateway, slow, user="alice"):
    """Start a kernel of an id that its user chose; give the id and the POST, which waits."""
    kernel_id = str(uuid.uuid4())
    request = asyncio.create_task(post(gateway, kernel_id, user))
    await slow.launching.wait()
    try:
        yield kernel_id, request
    finally:
        slow.go_on.set()
        await asyncio.gather(request, return_exceptions=True)


@contextlib.asynccontextmanager
async def followed(gateway, kernel_id, user="alice"):
    async with client_of(gateway, user) as client:
        events = client.progress(kernel_id)
        async with contextlib.aclosing(events):
            yield events


async def all_events(gateway, kernel_id, user="alice"):
    async with followed(gateway, kernel_id, user) as events:
        return [without_seconds(event) async for event in events]


def without_seconds(event):
    return {name: value for name, value in event.items() if name != "seconds"}


async def has(condition):
    return condition


async def refusal_of_progress(gateway, kernel_id, user):
    """Return the status and the body that a user is answered, with the id taken out."""
    with pytest.raises(Refused) as refused:
        await all_events(gateway, kernel_id, user)
    return refused.value.status, str(refused.value).replace(kernel_id, "ID")


async def test_a_start_is_followed_while_its_post_waits(gateway, slow):
    async with starting(gateway, slow) as (kernel_id, request):
        async with followed(gateway, kernel_id) as events:
            assert without_seconds(await anext(events)) == REQUESTED
            assert without_seconds(await anext(events)) == PULLING
            assert not request.done()
            slow.go_on.set()
            last = [event async for event in events][-1]
            assert last["phase"] == "ready"
            assert last["ready"] is True
            assert last["message"].startswith("The kernel is up after ")
        assert (await request)["id"] == kernel_id
        # Of a kernel that is up, the steps of its start.
        again = await all_events(gateway, kernel_id)
        assert again == [REQUESTED, PULLING, again[-1]]
        assert again[-1] == last


async def test_the_present_step_is_repeated_with_its_age(gateway, slow, often):
    async with starting(gateway, slow) as (kernel_id, _), followed(gateway, kernel_id) as events:
        assert without_seconds(await anext(events)) == REQUESTED
        first, second = await anext(events), await anext(events)
        assert without_seconds(first) == without_seconds(second) == PULLING
        async for event in events:
            if event["seconds"] > first["seconds"]:
                break


async def test_no_line_break_of_a_message_ends_an_event(gateway, slow):
    async with starting(gateway, slow) as (kernel_id, _), followed(gateway, kernel_id) as events:
        assert without_seconds(await anext(events)) == REQUESTED
        progress = gateway.app.kernel_manager.progress_of(kernel_id)
        progress.fail("ImagePull", "One line,\n\ndata: and another.")
        last = [event async for event in events][-1]
    assert last["message"] == "One line,\n\ndata: and another."
    assert (last["phase"], last["reason"], last["failed"]) == ("failed", "ImagePull", True)
    assert "ready" not in last


async def test_a_failed_start_says_why_in_its_progress(gateway, slow, monkeypatch):
    async def fail(_self, _cmd, **_kwargs):
        slow.launching.set()
        await slow.go_on.wait()
        with as_http_errors():
            raise IMAGE_MISSING

    monkeypatch.setattr(Slow, "launch_kernel", fail)
    async with starting(gateway, slow) as (kernel_id, request):
        async with followed(gateway, kernel_id) as events:
            await anext(events)
            slow.go_on.set()
            last = [event async for event in events][-1]
        with pytest.raises(Refused) as refused:
            await request
    assert (last["reason"], last["failed"]) == ("ImagePull", True)
    assert unwrapped(last["message"]) == unwrapped(str(IMAGE_MISSING))
    assert refused.value.message == last["message"]
    # It is as if it had never been.
    assert (await refusal_of_progress(gateway, kernel_id, "alice"))[0] == 404


CANCELLED = "A client shut the kernel down while it was being started."


async def test_a_delete_cancels_a_start(gateway, slow):
    kernels = gateway.app.kernel_manager
    kernels.peers = Reconciling(kernels)
    async with starting(gateway, slow) as (kernel_id, request):
        async with followed(gateway, kernel_id) as events, client_of(gateway, "alice") as client:
            await anext(events)
            await within_timeout(client.delete(kernel_id))
            last = [event async for event in events][-1]
        with pytest.raises(Refused) as refused:
            await request
        assert slow.abandoned
        assert refused.value.status == 409
        assert (last["reason"], last["failed"]) == ("StartCancelled", True)
        assert unwrapped(refused.value.message) == unwrapped(last["message"]) == CANCELLED
    assert (await refusal_of_progress(gateway, kernel_id, "alice"))[0] == 404
    assert not kernels._pending_kernels
    assert not kernels._being_started
    # The same id can be started again.
    slow.go_on.set()
    assert (await post(gateway, kernel_id))["id"] == kernel_id


class Starting(NoPeers):
    """Another gateway starts a kernel of alice's."""

    def __init__(self):
        self.cancelled = []

    async def cancel_start(self, kernel_id, may_cancel):
        if may_cancel(Ownership("alice")):
            self.cancelled.append(kernel_id)
            return True
        return False


async def test_a_delete_cancels_a_start_by_another_gateway(gateway):
    gateway.app.kernel_manager.peers = peers = Starting()
    kernel_id = str(uuid.uuid4())
    async with client_of(gateway, "bob") as client:
        with pytest.raises(Refused) as refused:
            await client.delete(kernel_id)
        assert refused.value.status == 404
    assert peers.cancelled == []
    async with client_of(gateway, "alice") as client:
        await client.delete(kernel_id)
    assert peers.cancelled == [kernel_id]


async def test_a_start_is_cancelled_for_a_client_at_another_gateway(gateway, slow):
    async with starting(gateway, slow) as (kernel_id, request):
        gateway.app.kernel_manager.cancel_start_soon(kernel_id)
        with pytest.raises(Refused) as refused:
            await request
        assert unwrapped(refused.value.message) == CANCELLED
        assert slow.abandoned


async def test_only_its_owner_cancels_a_start(gateway, slow):
    async with starting(gateway, slow) as (kernel_id, request):
        for user in ("bob", "carol"):
            async with client_of(gateway, user) as client:
                with pytest.raises(Refused) as refused:
                    await client.delete(kernel_id)
            assert refused.value.status == 404
        slow.go_on.set()
        assert (await request)["id"] == kernel_id


async def test_a_start_that_is_cancelled_once_it_is_launched_leaves_nothing(
    gateway, slow, monkeypatch
):
    launched, never = asyncio.Event(), asyncio.Event()
    processes = []

    async def wait(self, **_kwargs):
        processes.append(self.provisioner.process)
        launched.set()
        await never.wait()

    monkeypatch.setattr(GatewayKernel, "_async_post_start_kernel", wait)
    async with starting(gateway, slow) as (kernel_id, request):
        slow.go_on.set()
        await launched.wait()
        async with client_of(gateway, "alice") as client:
            await client.delete(kernel_id)
        with pytest.raises(Refused) as refused:
            await request
        assert refused.value.status == 409
    assert [process.poll() is not None for process in processes] == [True]
    async with client_of(gateway, "alice") as client:
        assert await client.kernels() == {}


async def test_before_its_post_an_id_does_not_exist(gateway):
    status, body = await refusal_of_progress(gateway, str(uuid.uuid4()), "alice")
    assert status == 404
    assert "Kernel does not exist: ID" in body


async def test_a_start_does_not_exist_for_other_users(gateway, slow):
    unknown = await refusal_of_progress(gateway, str(uuid.uuid4()), "bob")
    async with starting(gateway, slow) as (kernel_id, _):
        for user in ("bob", "carol"):
            assert await refusal_of_progress(gateway, kernel_id, user) == unknown
        async with followed(gateway, kernel_id, "eve") as events:  # an administrator
            assert without_seconds(await anext(events)) == REQUESTED


class Reconciling(NoPeers):
    """The gateways of a cluster: a look for a kernel waits for this gateway's own operation on it."""

    def __init__(self, kernels):
        self._kernels = kernels

    async def find(self, kernel_id):
        await self._kernels.wait_for_operation(kernel_id)


async def test_an_answer_does_not_wait_for_the_end_of_a_start(gateway, slow):
    kernels = gateway.app.kernel_manager
    kernels.peers = Reconciling(kernels)
    async with starting(gateway, slow) as (kernel_id, request):
        async with followed(gateway, kernel_id) as events:
            assert without_seconds(await within_timeout(anext(events))) == REQUESTED
        status, _ = await within_timeout(refusal_of_progress(gateway, kernel_id, "bob"))
        assert status == 404
        assert not request.done()


async def test_a_user_follows_a_few_starts_at_once(gateway, slow):
    async with starting(gateway, slow) as (kernel_id, _), contextlib.AsyncExitStack() as stack:
        for _ in range(MOST_STREAMS):
            events = await stack.enter_async_context(followed(gateway, kernel_id))
            await anext(events)
        status, body = await refusal_of_progress(gateway, kernel_id, "alice")
        assert status == 429
        assert "You follow the progress of 4 kernels" in body
        async with followed(gateway, kernel_id, "eve") as others:
            await anext(others)
        await events.aclose()
        streams = gateway.app.web_app.settings["progress_streams"]
        await eventually(lambda: has(len(streams) == MOST_STREAMS - 1))
        async with followed(gateway, kernel_id) as again:
            await anext(again)


async def test_nothing_is_left_of_a_client_that_leaves(gateway, slow):
    async with starting(gateway, slow) as (kernel_id, _):
        async with followed(gateway, kernel_id) as events:
            await anext(events)
        streams = gateway.app.web_app.settings["progress_streams"]
        progress = gateway.app.kernel_manager.progress_of(kernel_id)
        await eventually(lambda: has(len(streams) == 0 and not progress._listeners))


async def test_a_gateway_that_stops_ends_all_streams(gateway, slow):
    async with starting(gateway, slow) as (kernel_id, _), followed(gateway, kernel_id) as events:
        await anext(events)
        gateway.app.request_stop()
        last = [event async for event in events][-1]
    assert (last["reason"], last["failed"]) == ("GatewayStopping", True)


async def test_a_stream_ends_when_its_reader_loses_access(gateway, often):
    kernel_id = str(uuid.uuid4())
    await post(gateway, kernel_id, name="local")
    await share(gateway, kernel_id)
    restart = LaunchProgress(time.monotonic)
    restart.enter(Stage(Phase.REQUESTED, "The kernel is being restarted."))
    gateway.app.kernel_manager.get_kernel(kernel_id).progress = restart
    async with followed(gateway, kernel_id, "carol") as events:
        await anext(events)
        await share(gateway, kernel_id, {"share": {"users": {}, "groups": {}}})
        assert [event async for event in events if event["phase"] != "requested"] == []


async def test_a_restart_has_a_progress_of_its_own(gateway):
    kernel_id = str(uuid.uuid4())
    await post(gateway, kernel_id, name="local")
    async with client_of(gateway, "alice") as client:
        await client.restart(kernel_id)
    first, last = await all_events(gateway, kernel_id)
    assert first["message"] == "The kernel is being restarted."
    assert last["ready"]


async def test_a_kernel_that_another_gateway_started_is_up(gateway):
    kernel_id = str(uuid.uuid4())
    await post(gateway, kernel_id, name="local")
    gateway.app.kernel_manager.get_kernel(kernel_id).progress = None
    events = await all_events(gateway, kernel_id)
    assert events == [{"phase": "ready", "message": "The kernel is up.", "ready": True}]


async def test_the_stream_is_for_proxies_and_pages_as_well(gateway):
    kernel_id = str(uuid.uuid4())
    await post(gateway, kernel_id, name="local")
    headers = {"Authorization": f"token {TOKENS['alice']}"}
    async with (
        aiohttp.ClientSession(headers=headers) as client,
        client.get(f"{gateway.url}/api/kernels/{kernel_id}/progress") as response,
    ):
        assert response.headers["Content-Type"] == "text/event-stream"
        assert response.headers["Cache-Control"] == "no-cache"
        assert response.headers["X-Accel-Buffering"] == "no"
        events = (await response.text()).split("\n\n")
    assert events.pop() == ""
    assert all(json.loads(event.removeprefix("data: ")) for event in events)


@pytest.mark.attack(15)
async def test_every_id_of_another_user_has_the_same_answer(gateway, slow):
    running, ended = str(uuid.uuid4()), str(uuid.uuid4())
    for kernel_id in (running, ended):
        await post(gateway, kernel_id, name="local")
    async with client_of(gateway, "alice") as client:
        await client.request("DELETE", f"/api/kernels/{ended}")
    async with starting(gateway, slow) as (being_started, _):
        answers = set()
        for kernel_id in (running, ended, being_started):
            with pytest.raises(Refused) as refused:
                await post(gateway, kernel_id, "bob", "local")
            answers.add((refused.value.status, str(refused.value).replace(kernel_id, "ID")))
        assert len(answers) == 1, answers
        assert answers.pop()[0] == 404
    for kernel_id in (running, ended):  # its owner has it, or starts another one
        assert (await post(gateway, kernel_id, name="local"))["id"] == kernel_id
