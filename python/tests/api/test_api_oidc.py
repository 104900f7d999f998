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
from ci.gateway_client import Gateway, Refused
from ci.paths import ROOT
from gateway_provisioners.gateway.identity.methods import key_set
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

    def stored(self, user):
        """Return the refresh token of a user, which each use replaces."""
        (file,) = (self.folder / user).iterdir()
        return file.read_text()

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
def run_issuer(tmp_path, unused_tcp_port_factory):
    """Return a context manager that runs an issuer."""
    port, callback_port = unused_tcp_port_factory(), unused_tcp_port_factory()
    return lambda seconds: running_issuer(tmp_path, port, callback_port, seconds=seconds)


async def test_a_notebook_goes_on_with_tokens_that_expire(
    run_issuer, unused_tcp_port_factory, monkeypatch
):
    async with run_issuer(seconds=4) as issuer:
        await issuer.token("bob")  # his login
        monkeypatch.setenv("GP_AUTH_METHODS", issuer.methods())
        monkeypatch.setenv("GATEWAY_TOKEN_COMMAND", issuer.command("bob"))
        monkeypatch.setenv("BROWSER", "false")  # he does not log in again
        async with (
            running_gateway() as gateway,
            jupyter_server(
                gateway,
                unused_tcp_port_factory(),
                f"--config={EXAMPLE / 'jupyter_server_config.py'}",
                token="",
            ) as browser,
            browser.kernel("local") as notebook,
        ):
            code = "import os; n = 1; print(os.environ['KERNEL_USERNAME'])"
            assert (await notebook.execute(code)).text == "bob\n"
            for n in (1, 2):
                before = issuer.stored("bob")

                async def renewed(before=before):
                    await browser.request("GET", "/api/kernelspecs")
                    return issuer.stored("bob") != before

                await eventually(renewed)
                assert (await notebook.execute("print(n); n += 1")).text == f"{n}\n"

            async with Gateway(gateway.url, await issuer.token("bob")) as bob:
                (kernel,) = (await bob.kernels()).values()
                assert kernel["owner"] == "bob"
            async with Gateway(gateway.url, await issuer.token("alice")) as alice:
                assert await alice.kernels() == {}
                with pytest.raises(Refused, match="Kernel does not exist"):
                    await alice.request("GET", f"/api/kernels/{kernel['id']}")


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
            assert "has expired" in refused.message


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
