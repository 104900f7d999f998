"""Requests to POST /api/kernels, and the environment that reaches the kernel."""

import asyncio
import json
import os

import pytest

from api.running import running_gateway
from ci.gateway_client import Refused

SHOW_ENVIRONMENT = "import os, json; print(json.dumps(dict(os.environ)))"


async def refused(gateway, body):
    with pytest.raises(Refused) as caught:
        await gateway.client.request("POST", "/api/kernels", body)
    return caught.value


async def environment_of(gateway, kernel_id):
    async with gateway.client.channels(kernel_id) as channels:
        return json.loads((await channels.execute(SHOW_ENVIRONMENT)).text)


async def test_environments_of_concurrent_requests_never_mix(gateway):
    async def start(number):
        env = {"KERNEL_USERNAME": f"user{number}", f"KERNEL_ONLY_{number}": "x"}
        return env, await environment_of(gateway, await gateway.client.start("local", **env))

    for env, found in await asyncio.gather(*(start(number) for number in range(8))):
        assert {name: found[name] for name in found if name.startswith("KERNEL_")} == env


@pytest.mark.parametrize("body", [{"name": "local"}, {"name": "local", "env": {}}, None])
async def test_a_kernel_does_not_inherit_the_gateways_environment(gateway, monkeypatch, body):
    monkeypatch.setenv("A_SECRET_OF_THE_GATEWAY", "x")
    kernel = await gateway.client.request("POST", "/api/kernels", body)
    found = await environment_of(gateway, kernel["id"])
    # Set by jupyter_client and ipykernel for the kernel, and by the C library for its locale.
    expected = {"JPY_PARENT_PID", "LC_CTYPE"}
    assert "A_SECRET_OF_THE_GATEWAY" not in found
    assert {n for n, value in found.items() if os.environ.get(n) == value} <= expected


async def test_the_answer_has_the_kernels_location(gateway):
    async with gateway.client._session.post(
        f"{gateway.url}/api/kernels", json={"name": "local"}
    ) as response:
        assert response.status == 201
        model = await response.json()
        assert response.headers["Location"] == f"/api/kernels/{model['id']}"
        assert model["name"] == "local"


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"name": "nope"}, 404, ["'nope'", "local"]),
        ({"name": 7}, 400, ["`name`"]),
        (["local"], 400, ["JSON object"]),
        ("local", 400, ["JSON object"]),
        ({"name": "local", "env": ["KERNEL_A"]}, 400, ["`env`"]),
        ({"name": "local", "env": {"KERNEL_A": 1}}, 400, ["KERNEL_A"]),
        ({"name": "local", "env": {"KERNEL_A-B": "x"}}, 400, ["'KERNEL_A-B'"]),
        ({"name": "local", "env": {"KERNEL_A": "x\0y"}}, 400, ["KERNEL_A", "NUL"]),
        ({"name": "local", "kernel_id": "no-uuid"}, 400, ["`kernel_id`"]),
        ({"name": "local", "env": {"LD_PRELOAD": "x"}}, 403, ["LD_PRELOAD", "GP_CLIENT_ENVS"]),
    ],
)
async def test_each_refusal_has_a_reason(gateway, body, status, words):
    answer = await refused(gateway, body)
    assert answer.status == status
    assert answer.reason
    assert all(word in answer.message for word in words)
    assert await gateway.client.kernels() == {}


async def test_a_body_that_is_not_json_is_refused(gateway):
    async with gateway.client._session.post(f"{gateway.url}/api/kernels", data=b"{") as response:
        assert response.status == 400
        assert "JSON" in (await response.json())["message"]


async def test_the_administrator_can_allow_variables():
    async with running_gateway(client_envs=["DATA_SET"]) as gateway:
        kernel_id = await gateway.client.start("local", DATA_SET="wine")
        assert (await environment_of(gateway, kernel_id))["DATA_SET"] == "wine"


async def test_a_client_that_repeats_its_kernel_id_gets_the_same_kernel(gateway):
    body = {"name": "local", "kernel_id": "3F0E6A44-7B0A-4A55-9F4A-7B9C3B7D2A10"}
    first = await gateway.client.request("POST", "/api/kernels", body)
    second = await gateway.client.request("POST", "/api/kernels", body)
    assert first["id"] == second["id"] == body["kernel_id"].lower()
    assert len(await gateway.client.kernels()) == 1


async def test_an_id_that_is_being_started_is_taken(gateway):
    body = {"name": "local", "kernel_id": "3f0e6a44-7b0a-4a55-9f4a-7b9c3b7d2a10"}
    answers = await asyncio.gather(
        *(gateway.client.request("POST", "/api/kernels", body) for _ in range(3)),
        return_exceptions=True,
    )
    conflicts = [answer for answer in answers if isinstance(answer, Refused)]
    assert [(answer.status, answer.reason) for answer in conflicts] == [(409, "KernelIdTaken")] * 2
    assert len(await gateway.client.kernels()) == 1


async def test_the_limit_counts_kernels_that_are_being_started(monkeypatch):
    monkeypatch.setenv("KG_MAX_KERNELS", "2")
    async with running_gateway() as gateway:
        answers = await asyncio.gather(
            *(gateway.client.start("local") for _ in range(5)), return_exceptions=True
        )
        refusals = [answer for answer in answers if isinstance(answer, Refused)]
        assert [(answer.status, answer.reason) for answer in refusals] == [
            (403, "TooManyKernels")
        ] * 3
        assert len(await gateway.client.kernels()) == 2
        await gateway.client.delete(next(iter(await gateway.client.kernels())))
        await gateway.client.start("local")


async def test_a_forced_kernel_name_is_used_for_every_request():
    async with running_gateway(force_kernel_name="local") as gateway:
        kernel = await gateway.client.request("POST", "/api/kernels", {"name": "other"})
        assert kernel["name"] == "local"


async def test_kernels_that_are_not_allowed_cannot_be_started(monkeypatch):
    monkeypatch.setenv("GP_ALLOWED_KERNELS", "other")
    async with running_gateway() as gateway:
        assert (await refused(gateway, {"name": "local"})).status == 404
        specs = await gateway.client.request("GET", "/api/kernelspecs")
        assert specs["kernelspecs"] == {}


async def test_sessions_start_kernels_under_the_same_rules(monkeypatch):
    monkeypatch.setenv("KG_MAX_KERNELS", "1")
    async with running_gateway() as gateway:
        body = {"path": "a.ipynb", "type": "notebook", "name": "", "kernel": {"name": "local"}}
        session = await gateway.client.request("POST", "/api/sessions", body)
        assert set(await gateway.client.kernels()) == {session["kernel"]["id"]}
        with pytest.raises(Refused) as caught:
            await gateway.client.request("POST", "/api/sessions", {**body, "path": "b.ipynb"})
        assert (caught.value.status, caught.value.reason) == (403, "TooManyKernels")


SESSION = {"path": "a.ipynb", "type": "notebook", "name": ""}


async def session_of(gateway, **kernel):
    return await gateway.client.request("POST", "/api/sessions", {**SESSION, "kernel": kernel})


async def test_sessions_start_the_forced_kernel_too():
    async with running_gateway(force_kernel_name="local") as gateway:
        session = await session_of(gateway, name="other")
        assert session["kernel"]["name"] == "local"


async def test_kernel_of_a_session_has_the_environment_of_its_client(gateway):
    session = await session_of(gateway, name="local", env={"KERNEL_USERNAME": "alice"})
    async with gateway.client.channels(session["kernel"]["id"]) as channels:
        code = "import os; print(os.environ['KERNEL_USERNAME'])"
        assert (await channels.execute(code)).text == "alice\n"


async def test_notebook_keeps_its_session_while_the_kernel_runs(gateway):
    first = await session_of(gateway, name="local")
    assert await session_of(gateway, name="local") == first
    await gateway.client.delete(first["kernel"]["id"])
    assert (await session_of(gateway, name="local"))["kernel"]["id"] != first["kernel"]["id"]


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        ({**SESSION, "kernel": {"name": "nope\n" * 1000}}, 404, "UnknownKernel"),
        ({**SESSION, "kernel": {"env": {"PATH": "/tmp"}}}, 403, "PolicyViolation"),
        ({**SESSION, "kernel": {"env": []}}, 400, "InvalidRequest"),
        ({**SESSION, "kernel": "local"}, 400, "InvalidRequest"),
        ({**SESSION, "path": ""}, 400, "InvalidRequest"),
        ({**SESSION, "path": 5}, 400, "InvalidRequest"),
        ({"notebook": "a.ipynb"}, 400, "InvalidRequest"),
        ([], 400, "InvalidRequest"),
    ],
)
async def test_session_that_makes_no_sense_is_refused(gateway, body, status, reason):
    with pytest.raises(Refused) as caught:
        await gateway.client.request("POST", "/api/sessions", body)
    assert (caught.value.status, caught.value.reason) == (status, reason)
    assert len(caught.value.message) < 300


async def test_a_kernel_cannot_be_given_any_number_of_sessions(gateway):
    first = await session_of(gateway, name="local")
    body = {"path": "b", "kernel": {"kernel_id": first["kernel"]["id"]}}
    second = await gateway.client.request("POST", "/api/sessions", body)
    assert second["kernel"]["id"] != first["kernel"]["id"]


async def test_session_of_a_client_of_old_is_known_by_its_notebook(gateway):
    body = {"notebook": {"path": "old.ipynb"}, "kernel": {"name": "local"}}
    session = await gateway.client.request("POST", "/api/sessions", body)
    assert session["notebook"]["path"] == "old.ipynb"


async def test_sessions_of_kernels_that_ended_are_not_listed(gateway):
    body = {"path": "a.ipynb", "type": "notebook", "name": "", "kernel": {"name": "local"}}
    session = await gateway.client.request("POST", "/api/sessions", body)
    other = await gateway.client.request("POST", "/api/sessions", {**body, "path": "b.ipynb"})
    await gateway.client.delete(session["kernel"]["id"])
    listed = await gateway.client.request("GET", "/api/sessions")
    assert [row["id"] for row in listed] == [other["id"]]


async def test_a_missing_provisioner_is_reported(gateway, add_kernelspec):
    provisioner = {"kernel_provisioner": {"provisioner_name": "not-installed"}}
    add_kernelspec("foreign", metadata=provisioner)
    answer = await refused(gateway, {"name": "foreign"})
    assert answer.status == 404
    assert "provisioner" in answer.message


async def test_listing_can_be_switched_off(monkeypatch):
    monkeypatch.setenv("KG_LIST_KERNELS", "False")
    async with running_gateway() as gateway:
        for path in ("/api/kernels", "/api/sessions"):
            with pytest.raises(Refused) as caught:
                await gateway.client.request("GET", path)
            assert caught.value.status == 403
            assert "KG_LIST_KERNELS" in caught.value.message


@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_large_session_is_refused_before_it_is_parsed(gateway, method):
    path = "/api/sessions"
    if method == "PATCH":
        path += "/" + (await session_of(gateway, name="local"))["id"]
    with pytest.raises(Refused) as refused:
        await gateway.client.request(method, path, {"name": "x" * 70_000})
    assert refused.value.status == 413
    assert "65536" in refused.value.message
