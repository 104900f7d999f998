"""Users, and which kernels exist for them: every identity on every route."""

import asyncio
import json
import re
import uuid

import pytest
from tornado.web import RequestHandler

from access_matrix import ENDING, KERNEL, ROUTES, SESSION, Route, ask
from api.provisioners import Slow
from api.running import TOKEN, running_gateway
from ci.gateway_client import Gateway, Refused
from gateway_provisioners.model.ownership import Access

USERS = ("alice", "bob", "carol", "dave", "eve")
TOKENS = {name: f"the-token-of-{name}-which-is-long" for name in USERS}
ACCESS = {
    "alice": Access.OWNER,
    "bob": Access.NONE,
    "carol": Access.READ,
    "dave": Access.FULL,  # by a group
    "eve": Access.OWNER,  # an administrator
    "": Access.OWNER,  # the shared token
}
SHARE = {"share": {"users": {"carol": "read"}, "groups": {"team": "full"}}}


def methods(folder, **settings):
    """Return GP_AUTH_METHODS with a token for each of USERS."""
    for name, token in TOKENS.items():
        (folder / name).write_text(token)
    people = {"type": "token", "tokensFolder": str(folder), "adminUsers": ["eve"], **settings}
    return json.dumps({"people": people})


@pytest.fixture
async def gateway(tmp_path, monkeypatch):
    folder = tmp_path / "people"
    folder.mkdir()
    groups = tmp_path / "groups.json"
    groups.write_text(json.dumps({"team": ["dave", "eve"]}))
    monkeypatch.setenv("GP_AUTH_METHODS", methods(folder))
    monkeypatch.setenv("GP_USER_GROUPS_FILE", str(groups))
    async with running_gateway() as running:
        yield running


def client_of(gateway, user):
    return Gateway(gateway.url, TOKENS.get(user, TOKEN))


async def start(gateway, user="alice", path="a.ipynb"):
    """Start a kernel with a session; returns their ids."""
    async with client_of(gateway, user) as client:
        body = {"path": path, "type": "notebook", "kernel": {"name": "local"}}
        session = await client.request("POST", "/api/sessions", body)
    return session["kernel"]["id"], session["id"]


async def share(gateway, kernel, body=SHARE, user="alice"):
    async with client_of(gateway, user) as client:
        return await client.request("PATCH", f"/api/kernels/{kernel}", body)


@pytest.mark.attack(15)
def test_every_route_and_method_is_in_the_matrix(gateway):
    """A route that is added must be added to ROUTES with the access that it needs."""
    known = {(route.method, route.path) for route in ROUTES}
    ids = {"kernel_id": KERNEL, "session_id": SESSION, "kernel_name": "SPEC"}
    for rule in gateway.app.web_app.wildcard_router.rules:
        pattern, handler = rule.matcher.regex.pattern, rule.target
        if re.match(pattern, "/healthz") or re.match(pattern, "/metrics"):
            continue  # these say the same to everyone
        for method in RequestHandler.SUPPORTED_METHODS:
            if getattr(handler, method.lower()) in (
                getattr(RequestHandler, method.lower()),
                handler.options,
            ):
                continue
            named = [path for known_method, path in known if known_method == method]
            examples = [path for path in named if re.match(pattern, _example(path))]
            assert examples, (method, pattern)
            # A path that names a kernel in any other way would not be checked.
            assert set(rule.matcher.regex.groupindex) <= {*ids, "action", "path"}, pattern


def _example(path):
    for name in (KERNEL, SESSION):
        path = path.replace(name, "3f0e6a44-7b0a-4a55-9f4a-7b9c3b7d2a10")
    return path.replace("SPEC", "local")


def test_every_route_of_a_kernel_needs_some_access():
    for route in ROUTES:
        assert (route.needs is not None) == (KERNEL in route.path or SESSION in route.path), route


@pytest.mark.attack(15)
@pytest.mark.parametrize("user", ACCESS)
async def test_each_route_needs_its_access(gateway, user):
    kernel, session = await start(gateway)
    await share(gateway, kernel)
    for route in ROUTES:
        if route.needs is None:
            continue
        if route in ENDING and ACCESS[user] >= route.needs:
            kernel, session = await start(gateway, path=f"{uuid.uuid4()}.ipynb")
            await share(gateway, kernel)
        ids = {"kernel": kernel, "session": session, "spec": "local"}
        answer = await ask(gateway.url, TOKENS.get(user, TOKEN), route, **ids)
        if ACCESS[user] == Access.NONE:
            assert answer.status == 404, route
        elif ACCESS[user] < route.needs:
            assert answer.status == 403, route
            assert answer.reason == "PolicyViolation"
        else:
            assert answer.status < 400, (route, answer.text)


@pytest.mark.attack(15)
async def test_another_users_kernel_is_answered_like_none(gateway):
    kernel, session = await start(gateway)
    for route in ROUTES:
        if route.needs is None:
            continue
        answers = []
        for ids in ((kernel, session), (str(uuid.uuid4()), str(uuid.uuid4()))):
            answer = await ask(
                gateway.url, TOKENS["bob"], route, kernel=ids[0], session=ids[1], spec="local"
            )
            text = answer.text.replace(ids[0], KERNEL).replace(ids[1], SESSION)
            headers = {name: value for name, value in answer.headers.items() if name != "Date"}
            answers.append((answer.status, headers, text))
        assert answers[0] == answers[1], route


@pytest.mark.attack(15)
async def test_other_answers_and_metrics_do_not_name_the_kernel(gateway):
    kernel, session = await start(gateway)
    for route in ROUTES:
        if route.needs is None:
            answer = await ask(gateway.url, TOKENS["bob"], route, spec="local")
            assert not answer.says(kernel), route
            assert not answer.says(session), route
    metrics = await ask(gateway.probes.url, "", Route("GET", "/metrics"))
    assert "gateway_provisioners_users 1.0" in metrics.text
    assert not metrics.says("alice")
    assert not metrics.says(kernel)


@pytest.mark.attack(15)
async def test_lists_hold_what_a_user_may_see(gateway):
    kernel, _ = await start(gateway)
    of_bob, _ = await start(gateway, "bob")
    await share(gateway, kernel)
    for user, access in ACCESS.items():
        async with client_of(gateway, user) as client:
            listed = await client.kernels()
            sessions = await client.request("GET", "/api/sessions")
        mine = {of_bob} if user == "bob" else set()
        others = {of_bob} if user in ("eve", "") else set()
        visible = {kernel} if access else set()
        assert set(listed) == visible | mine | others, user
        assert {each["kernel"]["id"] for each in sessions} == set(listed), user
        assert all(model["owner"] in ("alice", "bob") for model in listed.values())


async def test_the_kernel_is_the_identitys_whatever_it_calls_itself(gateway, caplog):
    async with client_of(gateway, "alice") as alice:
        for _ in range(2):
            kernel = await alice.start("local", KERNEL_USERNAME="bob")
        async with alice.channels(kernel) as channels:
            code = "import os; print(os.environ['KERNEL_USERNAME'])"
            assert (await channels.execute(code)).text.strip() == "alice"
    async with client_of(gateway, "bob") as bob:
        assert await bob.kernels() == {}
    logged = [record for record in caplog.records if record.name.endswith("usernames")]
    assert [record.getMessage() for record in logged] == [
        "A client of user alice asks for another KERNEL_USERNAME, which is replaced."
    ]


async def test_another_name_can_be_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("GP_AUTH_METHODS", methods(tmp_path))
    monkeypatch.setenv("GP_STRICT_USERNAME", "true")
    async with running_gateway() as gateway, client_of(gateway, "alice") as alice:
        with pytest.raises(Refused, match="is not your name here, which is 'alice'"):
            await alice.start("local", KERNEL_USERNAME="bob")
        await alice.start("local", KERNEL_USERNAME="alice")


@pytest.mark.attack(15)
async def test_an_id_cannot_be_used_to_attach_to_anothers_kernel(gateway):
    kernel, _ = await start(gateway)
    body = {"name": "local", "kernel_id": kernel}
    for user, status in (("bob", 404), ("alice", 201)):
        route = Route("POST", "/api/kernels", body=body)
        answer = await ask(gateway.url, TOKENS.get(user, TOKEN), route)
        assert answer.status == status, user
        assert answer.says(kernel)  # the request has it, too


@pytest.mark.attack(15)
async def test_a_kernel_that_is_starting_is_its_users_already(gateway, add_provisioner):
    Slow.launching, Slow.go_on = asyncio.Event(), asyncio.Event()
    add_provisioner("slow", Slow)
    kernel = str(uuid.uuid4())
    async with client_of(gateway, "alice") as alice:
        body = {"name": "slow", "kernel_id": kernel}
        starting = asyncio.create_task(alice.request("POST", "/api/kernels", body))
        await Slow.launching.wait()
        for route in (Route("POST", "/api/kernels", body=body), *ROUTES):
            if route.needs is not None and SESSION not in route.path:
                answer = await ask(gateway.url, TOKENS["bob"], route, kernel=kernel)
                assert answer.status == 404, route
        Slow.go_on.set()
        await starting


async def test_notebooks_of_two_users_may_have_the_same_path(gateway):
    of_alice, first = await start(gateway, "alice", "Untitled.ipynb")
    of_bob, second = await start(gateway, "bob", "Untitled.ipynb")
    assert of_alice != of_bob
    assert await start(gateway, "alice", "Untitled.ipynb") == (of_alice, first)
    assert await start(gateway, "bob", "Untitled.ipynb") == (of_bob, second)


async def test_a_session_is_shown_and_follows_its_notebook(gateway):
    kernel, session = await start(gateway)
    async with client_of(gateway, "alice") as alice:
        renamed = await alice.request("PATCH", f"/api/sessions/{session}", {"path": "b.ipynb"})
        assert renamed["notebook"]["path"] == "b.ipynb"
        assert renamed["kernel"]["id"] == kernel
        shown = await alice.request("GET", f"/api/sessions/{session}")
        assert (shown["id"], shown["notebook"]) == (session, {"path": "b.ipynb"})
        other = {"path": "b.ipynb", "kernel": {"name": "local"}}
        with pytest.raises(Refused, match="A session keeps its kernel"):
            await alice.request("PATCH", f"/api/sessions/{session}", other)


async def test_an_owner_shares_and_unshares(gateway):
    kernel, _ = await start(gateway)
    shared = await share(gateway, kernel)
    assert shared["share"] == SHARE["share"]
    assert shared["owner"] == "alice"
    async with client_of(gateway, "carol") as carol:
        model = await carol.request("GET", f"/api/kernels/{kernel}")
        assert model["owner"] == "alice"
        assert "share" not in model
        await share(gateway, kernel, {"share": None})
        with pytest.raises(Refused, match="404"):
            await carol.request("GET", f"/api/kernels/{kernel}")


async def test_a_refusal_says_who_can_change_it(gateway):
    kernel, _ = await start(gateway)
    await share(gateway, kernel)
    with pytest.raises(Refused, match="only its owner and administrators can share it"):
        await share(gateway, kernel, user="dave")
    async with client_of(gateway, "carol") as carol:
        with pytest.raises(Refused, match="for reading only; its owner can change that"):
            await carol.restart(kernel)


async def test_an_administrator_hands_a_kernel_over(gateway):
    kernel, _ = await start(gateway, user="")  # of the shared token: it has no owner
    async with client_of(gateway, "bob") as bob:
        assert await bob.kernels() == {}
        with pytest.raises(Refused, match="404"):
            await share(gateway, kernel, {"owner": "bob"}, user="bob")
        await share(gateway, kernel, {"owner": "bob"}, user="eve")
        assert set(await bob.kernels()) == {kernel}
        with pytest.raises(Refused, match="Only an administrator"):
            await share(gateway, kernel, {"owner": "alice"}, user="bob")


async def test_sharing_can_be_switched_off(tmp_path, monkeypatch):
    monkeypatch.setenv("GP_AUTH_METHODS", methods(tmp_path))
    monkeypatch.setenv("GP_SHARING", "false")
    async with running_gateway() as gateway:
        kernel, _ = await start(gateway)
        with pytest.raises(Refused, match="Sharing is switched off"):
            await share(gateway, kernel)


@pytest.mark.parametrize(
    "body",
    [
        {"share": {"users": {"bob": "owner"}}},
        {"share": {"users": ["bob"]}},
        {"share": {"users": {"": "read"}}},
        {"share": {"users": {"b" * 254: "read"}}},
        {"share": {"users": {f"user-{number}": "read" for number in range(101)}}},
        {"share": {"people": {}}},
        {"owner": None},
        {"execution_state": "idle"},
        [],
        None,
    ],
)
async def test_a_malformed_share_is_refused(gateway, body):
    kernel, _ = await start(gateway)
    with pytest.raises(Refused, match="malformed"):
        await share(gateway, kernel, body)
