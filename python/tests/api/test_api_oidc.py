"""Users of an OpenID Connect provider, as in examples/oidc: a real issuer, logins, and a Jupyter server."""

import asyncio
import contextlib
import json
import shlex
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from api.oidc_issuer import CLIENT_ID, password
from api.running import running_gateway
from api.test_api_jupyterlab import jupyter_server, until_listening
from api.test_api_mailbox import launched_kernels  # noqa: F401 - a fixture
from ci.gateway_client import Gateway, Refused
from ci.paths import ROOT
from gateway_provisioners.gateway.identity.methods import key_set
from message_words import unwrapped
from programs import program
from timeouts import eventually

EXAMPLE = ROOT / "examples/oidc"
TESTS = Path(__file__).parent


@dataclass
class Issuer:
    """A running issuer, and the port of its users' logins."""

    url: str
    process: asyncio.subprocess.Process
    callback_port: int
    folder: Path

    def command(self, user):
        """Return the command that prints a token of a user, as GATEWAY_TOKEN_COMMAND has it."""
        return shlex.join(
            [
                *(sys.executable, str(EXAMPLE / "gateway_token.py")),
                *("--issuer", self.url, "--client-id", CLIENT_ID),
                *("--port", str(self.callback_port), "--token", "access_token"),
                *("--folder", str(self.folder / user)),
            ]
        )

    async def token(self, user):
        """Return a token of a user, who logs in with a browser if that is necessary."""
        browser = shlex.join([sys.executable, str(TESTS / "oidc_browser.py"), user, password(user)])
        output = await program(*shlex.split(self.command(user)), BROWSER=f"{browser} %s")
        return output.splitlines()[-1]

    def methods(self, **settings):
        """Return GP_AUTH_METHODS with this issuer, found by its discovery document."""
        sso = {"type": "jwt", "issuer": self.url, "audience": CLIENT_ID, **settings}
        return json.dumps({"sso": sso})


@contextlib.asynccontextmanager
async def running_issuer(folder, port, callback_port, *, seconds):
    """Run an issuer whose tokens expire after some seconds."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(TESTS / "oidc_issuer.py"), str(port), str(seconds)),
        str(callback_port),
        stdin=asyncio.subprocess.DEVNULL,
    )
    try:
        await until_listening(process, port)
        yield Issuer(f"http://127.0.0.1:{port}", process, callback_port, folder)
    finally:
        process.kill()
        await process.wait()


@pytest.fixture
def run_issuer(tmp_path, port_of_process):
    """Return a context manager that runs an issuer."""
    port, callback_port = port_of_process(), port_of_process()
    return lambda seconds: running_issuer(tmp_path, port, callback_port, seconds=seconds)


CELL = """
import os, pathlib, time
print(os.environ["KERNEL_USERNAME"])
while not pathlib.Path({!r}).exists(): time.sleep(0.1)
print("went on")
"""


@pytest.mark.slow  # until a token has expired
async def test_a_notebook_goes_on_when_its_token_expires(
    run_issuer, port_of_process, monkeypatch, tmp_path
):
    async with run_issuer(seconds=6) as issuer:
        await issuer.token("bob")  # his login
        monkeypatch.setenv("GP_AUTH_METHODS", issuer.methods(leewaySeconds=5))
        monkeypatch.setenv("GATEWAY_TOKEN_COMMAND", issuer.command("bob"))
        monkeypatch.setenv("BROWSER", "false")  # he does not log in again
        async with (
            running_gateway() as gateway,
            jupyter_server(
                gateway,
                port_of_process(),
                f"--config={EXAMPLE / 'jupyter_server_config.py'}",
                token="",
                program="jupyterlab",
            ) as browser,
        ):
            async with browser._session.get(f"{browser.url}/lab") as page:
                assert "JupyterLab" in await page.text()
            kernel = await browser.start("launched")
            async with browser.channels(kernel, "the-session-of-a-page") as notebook:
                assert (await notebook.execute("print(1)")).text == "1\n"
                first = gateway.sockets()
                go_on = tmp_path / "go-on"
                cell = asyncio.create_task(notebook.execute(CELL.format(str(go_on))))

                async def connected_again():
                    # A page asks every few seconds.
                    await browser.request("GET", "/api/kernelspecs")
                    # The gateway has closed the websocket, and the server has a newer token.
                    return not set(first) & set(gateway.sockets()) and gateway.sockets()

                await eventually(connected_again)
                go_on.touch()
                assert (await cell).text == "bob\nwent on\n"
                assert (await notebook.execute("print(2)")).text == "2\n"

            async with Gateway(gateway.url, await issuer.token("bob")) as bob:
                assert (await bob.kernels())[kernel]["owner"] == "bob"
            async with Gateway(gateway.url, await issuer.token("alice")) as alice:
                assert await alice.kernels() == {}
                with pytest.raises(Refused, match="Kernel does not exist"):
                    await alice.request("GET", f"/api/kernels/{kernel}")


async def test_a_shared_kernel_is_used_through_another_server(
    run_issuer, port_of_process, monkeypatch
):
    async with run_issuer(seconds=600) as issuer:
        monkeypatch.setenv("GP_AUTH_METHODS", issuer.methods())
        async with (
            running_gateway() as gateway,
            Gateway(gateway.url, await issuer.token("alice")) as alice,
            jupyter_server(gateway, port_of_process(), token=await issuer.token("bob")) as browser,
        ):
            kernel = await alice.start("local")
            await alice.request(
                "PATCH", f"/api/kernels/{kernel}", {"share": {"groups": {"guests": "full"}}}
            )
            await browser.request("POST", "/api/kernels", {"kernel_id": kernel})
            assert set(await browser.kernels()) == {kernel}
            async with browser.channels(kernel) as notebook:
                assert (await notebook.execute("print(1)")).text == "1\n"


async def test_groups_of_the_issuer_count(run_issuer, monkeypatch):
    async with run_issuer(seconds=600) as issuer:
        monkeypatch.setenv("GP_AUTH_METHODS", issuer.methods(adminGroups=["analysts"]))
        async with (
            running_gateway() as gateway,
            Gateway(gateway.url, await issuer.token("bob")) as bob,
            Gateway(gateway.url, await issuer.token("alice")) as alice,
        ):
            kernel = await bob.start("local")
            assert set(await alice.kernels()) == {kernel}


@pytest.mark.attack(15)
async def test_an_expired_token_is_refused(run_issuer, monkeypatch):
    async with run_issuer(seconds=1) as issuer:
        monkeypatch.setenv("GP_AUTH_METHODS", issuer.methods(leewaySeconds=0))
        async with (
            running_gateway() as gateway,
            Gateway(gateway.url, await issuer.token("alice")) as alice,
        ):

            async def refusal():
                try:
                    await alice.kernels()
                except Refused as refused:
                    return refused
                return None

            refused = await eventually(refusal)
            assert refused.status == 401
            assert "has expired" in unwrapped(refused.message)


async def test_new_keys_of_the_issuer_replace_the_old_ones(run_issuer, monkeypatch):
    monkeypatch.setattr(key_set, "PAUSE_SECONDS", 0)
    async with run_issuer(seconds=600) as issuer:
        monkeypatch.setenv("GP_AUTH_METHODS", issuer.methods())
        async with (
            running_gateway() as gateway,
            Gateway(gateway.url, await issuer.token("alice")) as before,
        ):
            kernel = await before.start("local")
            issuer.process.send_signal(signal.SIGHUP)

            async def accepted():
                async with Gateway(gateway.url, await issuer.token("alice")) as after:
                    assert set(await after.kernels()) == {kernel}
                try:
                    await before.kernels()
                except Refused as refused:
                    return refused.status == 401
                return False

            await eventually(accepted)
