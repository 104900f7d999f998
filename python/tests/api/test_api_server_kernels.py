"""The kernels of a Jupyter server with the client package, and what JupyterLab's extension asks of it."""

import contextlib
import json
import sys

import aiohttp
import pytest

from api.provisioners import Failing
from api.running import TOKEN, running_gateway
from api.server_extension import AUTHORIZED, extended_server, gateway_mode
from api.test_api_shares import people  # noqa: F401 - a fixture
from ci.gateway_client import Gateway, Refused
from timeouts import within_timeout

SESSION = {"path": "a.ipynb", "type": "notebook", "name": ""}


@pytest.fixture
def ports(unused_tcp_port_factory):
    return unused_tcp_port_factory(), unused_tcp_port_factory()


async def test_kernels_of_a_killed_server_are_listed_and_used(tmp_path, ports):
    async with running_gateway() as gateway:
        mode = gateway_mode(gateway, TOKEN)
        async with extended_server(tmp_path, ports[0], *mode) as first:
            kernel_id = await first.client.start("local")
            async with first.page(kernel_id) as browser:
                assert await browser.run("n = 42\nprint(n)") == "42\n"
            first.process.kill()
            await first.process.wait()
        async with extended_server(tmp_path, ports[1], *mode) as second:
            # The page that was open comes back before anything is listed.
            async with second.page(kernel_id) as browser:
                assert await browser.run("print(n)") == "42\n"
            assert set(await second.client.kernels()) == {kernel_id}
            body = {**SESSION, "kernel": {"id": kernel_id}}
            session = await second.client.request("POST", "/api/sessions", body)
            assert session["kernel"]["id"] == kernel_id
            second.process.terminate()
            await within_timeout(second.process.wait())
        # It was not the second server's own.
        assert set(await gateway.client.kernels()) == {kernel_id}


async def test_a_clean_stop_ends_own_kernels_unless_configured(tmp_path, ports):
    async with running_gateway() as gateway:
        mode = gateway_mode(gateway, TOKEN)
        keep = "--ResumedKernels.keep_kernels=True"
        for port, options, left in zip(ports, ([], [keep]), (0, 1), strict=True):
            async with extended_server(tmp_path, port, *mode, *options) as server:
                await server.client.start("local")
                server.process.terminate()
                await within_timeout(server.process.wait())
            assert len(await gateway.client.kernels()) == left


async def test_kernels_of_others_are_attached_only_by_hand(tmp_path, ports):
    async with running_gateway() as gateway:
        stranger = await gateway.client.start("local")
        async with extended_server(tmp_path, ports[0], *gateway_mode(gateway, TOKEN)) as server:
            own = await server.client.start("local")
            assert set(await server.client.kernels()) == {own}

            status, running = await server.request("GET", "running")
            assert status == 200
            by_id = {kernel["remote_id"]: kernel for kernel in running}
            assert by_id.keys() == {own, stranger}
            assert (by_id[own]["local_id"], by_id[stranger]["local_id"]) == (own, None)
            assert by_id[stranger]["attachable"]
            assert by_id[stranger]["name"] == "local"

            assert await server.request("POST", f"running/{stranger}/attach", {}) == (
                200,
                {"id": stranger},
            )
            assert set(await server.client.kernels()) == {own, stranger}
            async with server.page(stranger) as browser:
                assert await browser.run("print(1)") == "1\n"
            assert await server.request("DELETE", f"running/{stranger}") == (204, None)
            assert set(await gateway.client.kernels()) == {own}
            status, answer = await server.request("DELETE", f"running/{stranger}")
            assert status == 404
            assert "does not run at the gateway" in answer["message"]


async def test_kernels_that_have_this_owner_are_listed(people, tmp_path, ports):  # noqa: F811
    async with (
        running_gateway() as gateway,
        Gateway(gateway.url, "token-of-alice") as alice,
        Gateway(gateway.url, "token-of-bob") as bob,
        extended_server(tmp_path, ports[0], *gateway_mode(gateway, "token-of-alice")) as server,
    ):
        own = await alice.start("local")
        shared, private = await bob.start("local"), await bob.start("local")
        share = {"share": {"users": {"alice": "full"}}}
        await bob.request("PATCH", f"/api/kernels/{shared}", share)
        assert set(await server.client.kernels()) == {own}
        _, running = await server.request("GET", "running")
        assert {kernel["remote_id"] for kernel in running} == {own, shared}
        assert (await server.request("POST", f"running/{private}/attach", {}))[0] == 404
        assert (await server.request("POST", f"running/{shared}/attach", {}))[0] == 200
        assert set(await server.client.kernels()) == {own, shared}


async def test_a_kernel_shows_its_gateway_and_usage(tmp_path, ports):
    async with (
        running_gateway() as gateway,
        extended_server(tmp_path, ports[0], *gateway_mode(gateway, TOKEN)) as server,
    ):
        kernel_id = await server.client.start("local")
        status, kernel = await server.request("GET", f"kernels/{kernel_id}")
        assert status == 200
        host = gateway.url.removeprefix("http://")
        assert kernel["gateway"] == {"name": host.partition(":")[0], "url": gateway.url}
        assert kernel["remote_id"] == kernel_id
        assert kernel.keys() >= {"usage", "reason", "node", "image", "state"}
        assert (await server.request("GET", "kernels/unknown"))[0] == 404


async def test_restart_and_interrupt_reach_the_kernel(tmp_path, ports):
    async with (
        running_gateway() as gateway,
        extended_server(tmp_path, ports[0], *gateway_mode(gateway, TOKEN)) as server,
    ):
        kernel_id = await server.client.start("local")
        async with server.page(kernel_id) as browser:
            msg_id = await browser.execute(
                "print('busy', flush=True)\nimport time; time.sleep(600)"
            )
            while (await browser.receive())[1]["msg_type"] != "stream":
                pass
            await server.client.interrupt(kernel_id)
            messages = await browser.until_idle(msg_id)
            assert messages[-1] or messages
            assert "KeyboardInterrupt" in [c.get("ename") for _, c, _ in messages]
            await browser.run("n = 1")
            await server.client.restart(kernel_id)
            assert "NameError" in str(await browser.until_idle(await browser.execute("n")))


async def test_starts_and_failures_are_streamed(add_provisioner, tmp_path, ports):
    add_provisioner("failing", Failing)
    async with (
        running_gateway() as gateway,
        extended_server(tmp_path, ports[0], *gateway_mode(gateway, TOKEN)) as server,
        events(server, "") as stream,
    ):
        kernel_id = await server.client.start("local")
        seen = await until(stream, lambda event: event["ready"])
        assert seen[0]["phase"] == "requested"
        assert {event["id"] for event in seen} == {kernel_id}

        with pytest.raises(Refused) as refused:
            await server.client.request(
                "POST", "/api/sessions", {**SESSION, "kernel": {"name": "failing"}}
            )
        # No `HTTP 500: Internal Server Error (Error from Gateway: [` before the cause.
        assert refused.value.message.startswith("The image")
        last = (await until(stream, lambda event: event["failed"]))[-1]
        assert last["reason"].startswith("ImagePull")
        assert last["help"].endswith(f"/docs/troubleshooting.md#{last['reason'].lower()}")
        assert last["message"].startswith("The image")

        async with events(server, "?after=0") as again:
            assert (await next_event(again)) == (1, seen[0])


def put_gateway_kernelspec(add_kernelspec, gateway, kernel="local"):
    """Write a kernelspec as `jupyter gateway-spec install` does."""
    add_kernelspec(
        f"at-gateway-{kernel}",
        argv=[
            sys.executable,
            "-m",
            "gateway_provisioners_client.kernel",
            "{connection_file}",
            f"--kernel={kernel}",
            f"--url={gateway.url}",
            "--name=ours",
            "--token-variable=TOKEN_OF_OURS",
        ],
        interrupt_mode="message",
        metadata={},
    )


async def test_kernels_of_gateway_kernelspecs_are_known(add_kernelspec, tmp_path, ports):
    async with running_gateway() as gateway:
        put_gateway_kernelspec(add_kernelspec, gateway)
        stranger = await gateway.client.start("local")
        async with (
            extended_server(tmp_path, ports[0], TOKEN_OF_OURS=TOKEN) as server,
            events(server, "") as stream,
        ):
            local_id = await server.client.start("at-gateway-local")
            seen = await until(stream, lambda event: event["ready"])
            assert {(event["id"], event["gateway"]) for event in seen} == {(local_id, "ours")}
            status, kernel = await server.request("GET", f"kernels/{local_id}")
            assert status == 200
            assert kernel["gateway"] == {"name": "ours", "url": gateway.url}
            assert kernel["remote_id"] in await gateway.client.kernels()

            _, running = await server.request("GET", "running")
            listed = {each["remote_id"]: (each["local_id"], each["attachable"]) for each in running}
            assert listed == {kernel["remote_id"]: (local_id, True), stranger: (None, True)}

            async with gateway.client.channels(stranger) as channels:
                await channels.execute("n = 42")
            status, answer = await server.request("POST", f"running/{stranger}/attach", {})
            assert status == 200
            async with server.page(answer["id"]) as browser:
                assert await browser.run("print(n)") == "42\n"

            await server.client.restart(local_id)
            seen = await until(stream, lambda event: event["ready"] and event["id"] == local_id)

            assert await server.request("DELETE", f"running/{kernel['remote_id']}") == (204, None)
            assert local_id not in await server.client.kernels()
            # Before its gateway ends: the kernel program would go on trying to reach it.
            await server.client.delete(answer["id"])


async def test_a_failed_start_of_a_gateway_kernelspec_is_streamed(
    add_kernelspec, add_provisioner, tmp_path, ports
):
    add_provisioner("failing", Failing)
    async with running_gateway() as gateway:
        put_gateway_kernelspec(add_kernelspec, gateway, "failing")
        async with (
            extended_server(tmp_path, ports[0], TOKEN_OF_OURS=TOKEN) as server,
            events(server, "") as stream,
        ):
            local_id = await server.client.start("at-gateway-failing")
            last = (await until(stream, lambda event: event["failed"]))[-1]
            assert (last["id"], last["reason"]) == (local_id, "ImagePull")
            assert last["message"].startswith("The image")
            await server.client.delete(local_id)


@contextlib.asynccontextmanager
async def events(server, query):
    """Open the stream of starts."""
    async with (
        aiohttp.ClientSession(headers=AUTHORIZED) as session,
        session.get(f"{server.url}/gateway-provisioners/starts{query}") as response,
    ):
        assert response.content_type == "text/event-stream"
        yield response.content


async def next_event(stream):
    """Return the number and the fields of the next event."""
    number = 0
    while True:
        line = (await within_timeout(stream.readline())).decode()
        if line.startswith("id: "):
            number = int(line[4:])
        elif line.startswith("data: "):
            return number, json.loads(line[6:])


async def until(stream, condition):
    """Return the events up to the first that fulfils the condition."""
    seen = []
    while not seen or not condition(seen[-1]):
        seen.append((await next_event(stream))[1])
    return seen
