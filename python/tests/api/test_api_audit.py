"""The audit log of a gateway, and the throttle of wrong credentials."""

import contextlib
import json
import uuid
from collections import Counter

import aiohttp
import pytest

from access_matrix import KERNEL, ROUTES, SESSION, ask
from api.provisioners import Failing
from api.running import TOKEN, running_gateway
from ci.gateway_client import Gateway, Refused
from gateway_provisioners.gateway import app
from gateway_provisioners.gateway.identity.identity import Identity
from gateway_provisioners.gateway.identity.methods.tokens import SharedToken
from gateway_provisioners.gateway.identity.throttle import MOST_FAILURES

ALICE, BOB = "the-token-of-alice-which-is-long", "the-token-of-bob-which-is-long"
# The fields of a line that say who did it.
WHO = ("user", "method", "admin", "address")


class People:
    """A method that knows two users."""

    name = "people"
    order = 1

    def __init__(self):
        self.identities = {ALICE: "alice", BOB: "bob"}

    def fits(self, credential):
        return credential.token in self.identities

    async def identify(self, credential):
        return Identity(self.identities[credential.token], method=self.name)

    async def refresh(self): ...

    async def close(self): ...


class Log:
    """The audit log of a gateway that runs with `traits`."""

    def __init__(self, path):
        self._path = path
        self.gateway = None

    def lines(self):
        """Stop writing; return the lines."""
        self.gateway.app.kernel_manager.audit.close()
        return [json.loads(line) for line in self._path.read_text().splitlines()]

    def text(self):
        return self._path.read_text()


@pytest.fixture
def log(tmp_path):
    return Log(tmp_path / "audit.log")


@pytest.fixture
async def gateway(log, monkeypatch):
    monkeypatch.setattr(app, "build_methods", lambda *_: [SharedToken(TOKEN), People()])
    async with running_gateway(audit=str(log._path)) as gateway:
        log.gateway = gateway
        yield gateway


def alice(gateway):
    return Gateway(gateway.url, ALICE)


def operations(lines):
    """Return what was done with kernels, and how it ended."""
    return [(line["event"], line["outcome"], line["reason"]) for line in lines]


async def test_life_of_a_kernel_is_a_line_for_each_operation(gateway, log):
    async with alice(gateway) as client:
        kernel = await client.start("local")
        async with client.channels(kernel):
            pass
        await client.interrupt(kernel)
        await client.restart(kernel)
        await client.request("GET", f"/api/kernels/{kernel}")
        await client.request(
            "PATCH", f"/api/kernels/{kernel}", {"share": {"users": {"bob": "read"}}}
        )
        await client.request("DELETE", f"/api/kernels/{kernel}")
    lines = log.lines()
    events = ["start", "attach", "interrupt", "restart", "share", "end"]
    assert operations(lines) == [(event, "done", None) for event in events]
    for line in lines:
        assert [line[field] for field in WHO] == ["alice", "people", False, "127.0.0.1"]
        assert (line["kernel_id"], line["kernel"], line["owner"]) == (kernel, "local", "alice")
    assert lines[1]["access"] == "owner"
    assert lines[4]["share"]["users"] == {"bob": "read"}


async def test_sessions_start_and_end_kernels(gateway, log):
    body = {"path": "a.ipynb", "type": "notebook", "kernel": {"name": "local"}}
    async with alice(gateway) as client:
        for _ in range(2):  # the second one finds the kernel of the first
            session = await client.request("POST", "/api/sessions", body)
        await client.request("PATCH", f"/api/sessions/{session['id']}", {"path": "b.ipynb"})
        await client.request("DELETE", f"/api/sessions/{session['id']}")
    lines = log.lines()
    assert operations(lines) == [("start", "done", None), ("end", "done", None)]
    assert {line["kernel_id"] for line in lines} == {session["kernel"]["id"]}


async def test_administrator_without_a_name_is_recorded_as_one(gateway, log):
    async with alice(gateway) as client:
        kernel = await client.start("local")
    await gateway.client.request("DELETE", f"/api/kernels/{kernel}")
    end = log.lines()[-1]
    assert [end[field] for field in WHO] == [None, "token", True, "127.0.0.1"]
    assert end["owner"] == "alice"


@pytest.mark.attack(15)
async def test_what_a_user_may_not_do_with_a_kernel_is_recorded(gateway, log):
    body = {"path": "a.ipynb", "type": "notebook", "kernel": {"name": "local"}}
    async with alice(gateway) as client:
        session = await client.request("POST", "/api/sessions", body)
    kernel = session["kernel"]["id"]
    tried = [route for route in ROUTES if route.needs is not None]
    for route in tried:
        answer = await ask(gateway.url, BOB, route, kernel=kernel, session=session["id"])
        assert answer.status == 404, route
        for ids in ({"kernel": str(uuid.uuid4())}, {"session": str(uuid.uuid4())}):
            await ask(gateway.url, BOB, route, **ids)
    lines = log.lines()[1:]
    foreign = [line for line in lines if line["reason"] == "ForeignKernel"]
    assert len(foreign) == len(tried)
    for route, line in zip(tried, foreign, strict=True):
        assert (line["user"], line["outcome"], line["owner"]) == ("bob", "refused", "alice")
        assert line["kernel_id"] == kernel, route
    events = Counter(line["event"] for line in foreign)
    # A session is read and renamed; a kernel and its progress are read.
    assert events == {
        "attach": 1,
        "interrupt": 1,
        "restart": 1,
        "share": 1,
        "end": 2,
        "request": 4,
    }
    # Those of ids that do not exist, unless they only read.
    assert {line["reason"] for line in lines} == {"ForeignKernel", "NotFound"}
    assert "request" not in {line["event"] for line in lines if line["reason"] == "NotFound"}


async def test_sharing_for_reading_refuses_the_rest(gateway, log):
    async with alice(gateway) as client:
        kernel = await client.start("local")
        share = {"share": {"users": {"bob": "read"}}}
        await client.request("PATCH", f"/api/kernels/{kernel}", share)
    async with Gateway(gateway.url, BOB) as bob:
        async with bob.channels(kernel):
            pass
        with pytest.raises(Refused, match="403"):
            await bob.restart(kernel)
    attach, restart = log.lines()[-2:]
    assert (attach["event"], attach["access"]) == ("attach", "read")
    assert operations([restart]) == [("restart", "refused", "PolicyViolation")]


async def test_start_that_fails_is_recorded_with_its_reason(gateway, log, add_provisioner):
    add_provisioner("failing", Failing)
    gateway.app.max_kernels = 1
    async with alice(gateway) as client:
        with pytest.raises(Refused):
            await client.start("failing")
        with pytest.raises(Refused):
            await client.start("no-such-kernel\n")
        await client.start("local")
        with pytest.raises(Refused):
            await client.start("local")
    lines = log.lines()
    assert operations(lines) == [
        ("start", "failed", "ImagePull"),
        ("start", "refused", "UnknownKernel"),
        ("start", "done", None),
        ("start", "refused", "TooManyKernels"),
    ]
    assert [line["kernel"] for line in lines] == ["failing", None, "local", "local"]
    assert {line["user"] for line in lines} == {"alice"}


async def test_kernel_that_dies_is_restarted_by_the_gateway(gateway, log):
    async with alice(gateway) as client:
        kernel_id = await client.start("local")
        kernel = gateway.app.kernel_manager.get_kernel(kernel_id)
        kernel.provisioner.process.kill()
        await kernel.provisioner.wait()
        await kernel._restarter.poll()
        await client.request("DELETE", f"/api/kernels/{kernel_id}")
    _, restart, end = log.lines()
    assert operations([restart, end]) == [("restart", "done", "Died"), ("end", "done", None)]
    assert [restart[field] for field in WHO] == [None, None, False, None]
    assert restart["owner"] == end["user"] == "alice"


async def test_gateway_records_why_it_ends_a_kernel(log, add_kernelspec, monkeypatch):
    provisioner = {"kernel_provisioner": {"provisioner_name": "local-provisioner"}}
    add_kernelspec("short", metadata={**provisioner, "max_lifetime": 1})
    add_kernelspec("idle", metadata={**provisioner, "cull_idle_timeout": 1})
    async with running_gateway(audit=str(log._path)) as gateway:
        log.gateway = gateway
        kernels = gateway.app.kernel_manager
        for name in ("short", "idle", "local"):
            kernel = kernels.get_kernel(await gateway.client.start(name))
            kernels.stop_watching_activity(kernel.kernel_id)
            kernel.started = kernel.last_activity = kernel.started.replace(year=2000)
        await kernels.culler.cull()
    ends = [line for line in log.lines() if line["event"] == "end"]
    assert [(line["kernel"], line["reason"]) for line in ends] == [
        ("short", "Lifetime"),
        ("idle", "Idle"),
        ("local", "GatewayStopping"),
    ]
    assert all(line[field] in (None, False) for line in ends for field in WHO)


async def test_kernel_that_another_gateway_ended_is_recorded(gateway, log):
    async with alice(gateway) as client:
        kernel_id = await client.start("local")
    kernels = gateway.app.kernel_manager
    kernel = kernels.get_kernel(kernel_id)
    await kernels.release(kernel_id, ended=True)
    await kernel.shutdown_kernel(now=True)
    assert operations(log.lines()[1:]) == [("end", "done", "OtherGateway")]


async def status_of(gateway, token, session):
    """Ask for the list of kernels; return the answer's status and Retry-After."""
    headers = {"Authorization": f"token {token}"} if token else {}
    async with session.get(f"{gateway.url}/api/kernels", headers=headers) as response:
        return response.status, response.headers.get("Retry-After")


@pytest.mark.attack(15)
async def test_flood_of_guesses_is_refused_and_known_clients_go_on(gateway, log):
    async with aiohttp.ClientSession() as session:
        assert await status_of(gateway, ALICE, session) == (200, None)
        guesses = [f"a-secret-guess-{number}" for number in range(3 * MOST_FAILURES)]
        statuses = Counter()
        for guess in guesses:
            status, retry_after = await status_of(gateway, guess, session)
            assert (status == 429) == bool(retry_after)
            statuses[status] += 1
        assert statuses.keys() == {401, 429}
        # Some are let through while time passes.
        assert MOST_FAILURES <= statuses[401] < 2 * MOST_FAILURES
        assert (await status_of(gateway, BOB, session))[0] == 429
        assert await status_of(gateway, ALICE, session) == (200, None)
        assert await status_of(gateway, "", session) == (401, None)
        async with alice(gateway) as client, client.kernel("local"):
            pass
    metrics = await gateway.probes.request("GET", "/metrics")
    prefix = "gateway_provisioners_identifications_total"
    assert f'{prefix}{{method="none",outcome="rejected"}} {statuses[401]}.0' in metrics
    assert f'{prefix}{{method="none",outcome="throttled"}} {statuses[429] + 1}.0' in metrics
    assert f'{prefix}{{method="people",outcome="accepted"}}' in metrics
    assert "gateway_provisioners_audit_lines_lost_total 0.0" in metrics
    refused = [line for line in log.lines() if line["outcome"] == "refused"]
    assert len(refused) == statuses[401]
    assert operations(refused[:1]) == [("request", "refused", "Unauthorized")]
    assert [refused[0][field] for field in WHO] == [None, None, False, "127.0.0.1"]


@pytest.mark.attack(15)
async def test_strangers_cannot_fill_the_log(gateway, log):
    stale = "a-token-that-was-changed"
    async with aiohttp.ClientSession() as session:
        for _ in range(2 * MOST_FAILURES):
            assert (await status_of(gateway, "", session))[0] == 401
            assert (await status_of(gateway, stale, session))[0] == 401
        assert (await status_of(gateway, BOB, session))[0] == 200
    assert operations(log.lines()) == [("request", "refused", "Unauthorized")]


@pytest.mark.attack(20)
async def test_no_token_is_in_the_log(gateway, log):
    async with aiohttp.ClientSession() as session:
        for route in ROUTES:
            path = route.path.replace(KERNEL, str(uuid.uuid4())).replace(SESSION, str(uuid.uuid4()))
            for token in (ALICE, f"wrong-token-{uuid.uuid4()}"):
                params = {"token": token}
                request = session.request(
                    route.method, gateway.url + path, params=params, json=route.body
                )
                with contextlib.suppress(aiohttp.ClientError):
                    async with request:
                        pass
    log.lines()
    assert "Unauthorized" in log.text()
    assert "token-" not in log.text()


async def test_standard_output_is_the_default(monkeypatch, capfd):
    monkeypatch.delenv("GP_AUDIT", raising=False)
    async with running_gateway(audit=app.GatewayApp.audit.default_value) as gateway:
        kernel = await gateway.client.start("local")
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [(line["event"], line["kernel_id"]) for line in lines] == [
        ("start", kernel),
        ("end", kernel),
    ]
