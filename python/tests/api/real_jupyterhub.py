"""A real JupyterHub with its proxy and the servers of its users: processes on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import aiohttp
import psutil
import yaml

from ci import npm_programs
from ci.gateway_client import Gateway, Refused
from ci.paths import ROOT
from timeouts import eventually, within_timeout

EXAMPLE = ROOT / "examples/jupyterhub"
_ADMIN_TOKEN = "the-token-of-the-tests-at-the-hub"
USERS = ("alice", "bob")

# Ports are free: the address is this process's own.
_PUBLIC, _PROXY_API, _HUB = 8000, 8001, 8081

_CONFIG = """
import os, re, sys
from jupyterhub.spawner import SimpleLocalProcessSpawner


class Kubelet(SimpleLocalProcessSpawner):
    # Replaces $(NAME) in variables, as Kubernetes does for the pods of KubeSpawner.
    def get_env(self):
        env = super().get_env()
        return {{
            name: re.sub(r"\\$\\((\\w+)\\)", lambda found: env[found[1]], value)
            for name, value in env.items()
        }}


c.JupyterHub.bind_url = "http://{ip}:{public}"
c.JupyterHub.hub_bind_url = "http://{ip}:{hub}"
c.ConfigurableHTTPProxy.api_url = "http://{ip}:{proxy_api}"
c.ConfigurableHTTPProxy.command = {proxy}
c.ConfigurableHTTPProxy.pid_file = "{folder}/proxy.pid"
c.JupyterHub.db_url = "sqlite:///{folder}/hub.sqlite"
c.JupyterHub.cookie_secret_file = "{folder}/cookie_secret"
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.spawner_class = Kubelet
c.SimpleLocalProcessSpawner.home_dir_template = "{folder}/home/{{username}}"
c.Spawner.ip = "{ip}"
c.Spawner.cmd = [sys.executable, "-m", "jupyterhub.singleuser"]
c.Spawner.args = ["--allow-root"]
c.Spawner.environment = {environment}
c.JupyterHub.load_groups = {{"analysts": {{"users": {users}}}}}
c.JupyterHub.services = [
    {{"name": "tests", "api_token": "{token}"}},
    {{"name": "reports", "api_token": "the-token-of-the-service-reports"}},
]
c.JupyterHub.load_roles = [
    {{
        "name": "tests",
        "services": ["tests"],
        "scopes": ["admin:users", "admin:servers", "tokens", "shares", "access:servers"],
    }},
]
"""


@dataclass
class JupyterHub:
    """A running JupyterHub.

    Attributes:
        address: that of all its ports.
        log: the file of its output, and that of its proxy and servers.
    """

    address: str
    folder: Path
    log: Path
    process: asyncio.subprocess.Process
    api: Gateway
    processes: dict[int, psutil.Process] = field(default_factory=dict)

    @property
    def api_url(self) -> str:
        return api_url()

    async def token(self, user: str, *scopes: str) -> tuple[str, str]:
        """Return a new token of a user, and its id; without scopes it can do all that the user can."""
        body = {"scopes": list(scopes)} if scopes else {}
        answer = await self.api.request("POST", f"/users/{user}/tokens", body)
        return answer["token"], answer["id"]

    async def revoke(self, user: str, token_id: str) -> None:
        await self.api.request("DELETE", f"/users/{user}/tokens/{token_id}")

    async def delete_user(self, user: str) -> None:
        await self.api.request("DELETE", f"/users/{user}")

    async def start_server(self, user: str) -> None:
        """Start a user's server and wait until it is ready."""
        await self.api.request("POST", f"/users/{user}/server")

        async def is_ready():
            model = await self.api.request("GET", f"/users/{user}")
            return model["servers"][""]["ready"]

        await eventually(is_ready)
        self._find_processes()

    @contextlib.asynccontextmanager
    async def browser(self, user: str):
        """Yield a client of a user's server, as the user's browser has it: through the proxy."""
        token, _ = await self.token(user)
        async with Gateway(f"http://{self.address}:{_PUBLIC}/user/{user}", token) as client:
            yield client

    def token_of_server(self, user: str) -> str:
        """Return the token that the hub gave to a user's server."""
        for process in self.processes.values():
            with contextlib.suppress(psutil.NoSuchProcess):  # it has started others, and ended
                env = process.environ()
                if env.get("JUPYTERHUB_USER") == user:
                    return env["JUPYTERHUB_API_TOKEN"]
        raise AssertionError(f"{user} has no server")

    async def visit(self, visitor: str, owner: str) -> str:
        """Let a user open another's server; return the visitor's token that the server gets by that."""
        await self.api.request("POST", f"/shares/{owner}/", {"user": visitor})
        site = f"http://{self.address}:{_PUBLIC}"
        jar = aiohttp.CookieJar(unsafe=True)  # of an IP address
        async with aiohttp.ClientSession(cookie_jar=jar) as browser:

            async def form(url, **fields):
                """Open a page with a form, and send that; return the answer."""
                async with browser.get(url) as page:
                    text = await page.text()
                    assert page.status == 200, text
                    hidden = re.findall(r'name="(_xsrf|scopes)"\s+value="([^"]*)"', text)
                async with browser.post(
                    page.url, data={**dict(hidden), **fields}, allow_redirects=False
                ) as answer:
                    assert answer.status == 302, await answer.text()
                    return answer.headers["Location"]

            await form(f"{site}/hub/login", username=visitor, password="")
            server = f"jupyterhub-user-{owner}"
            callback = f"/user/{owner}/oauth_callback"
            query = f"client_id={server}&redirect_uri={callback}&response_type=code&state=a"
            location = await form(f"{site}/hub/api/oauth2/authorize?{query}")
        [code] = parse_qs(urlsplit(location).query)["code"]
        # From here on as the server does, with its own token.
        fields = {
            "client_id": server,
            "client_secret": self.token_of_server(owner),
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": callback,
        }
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.api_url}/oauth2/token", data=fields) as answer,
        ):
            return (await answer.json())["access_token"]

    async def whoami(self, token: str) -> dict:
        """Return what the hub says about a token."""
        async with Gateway(self.api_url, token) as client:
            return await client.request("GET", "/user")

    async def crash(self) -> None:
        """End the hub alone, as a pod of it that is lost; its proxy and the servers go on."""
        self._find_processes()
        self.process.kill()
        await self.process.wait()

    def _find_processes(self) -> None:
        for process in psutil.Process(self.process.pid).children(recursive=True):
            self.processes[process.pid] = process

    async def end(self) -> None:
        """End all its processes."""
        if self.process.returncode is None:
            await self.crash()
        alive = list(self.processes.values())
        for process in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        _, alive = await asyncio.to_thread(psutil.wait_procs, alive, timeout=60)
        assert not alive


def api_url() -> str:
    """Return the URL of the API of this process's hub, which need not run yet."""
    return f"http://{_address()}:{_HUB}/hub/api"


def _address() -> str:
    return f"127.2.{os.getpid() >> 8 & 255}.{os.getpid() & 255}"


@contextlib.asynccontextmanager
async def running_jupyterhub(folder: Path, gateway_url: str):
    """Run a JupyterHub whose servers have the environment of the example.

    Args:
        folder: its files, and the homes of its users.
        gateway_url: takes the place of the Service's.
    """
    values = yaml.safe_load((EXAMPLE / "values.yaml").read_text())
    address = _address()
    command = npm_programs.ensure(ROOT / "ci/configurable_http_proxy", "configurable-http-proxy")
    config = folder / "jupyterhub_config.py"
    config.write_text(
        _CONFIG.format(
            ip=address,
            public=_PUBLIC,
            proxy_api=_PROXY_API,
            hub=_HUB,
            folder=folder,
            proxy=list(command),
            environment={**values["singleuser"]["extraEnv"], "JUPYTER_GATEWAY_URL": gateway_url},
            users=list(USERS),
            token=_ADMIN_TOKEN,
        )
    )
    log = folder / "log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "jupyterhub", "--config", config),
            cwd=folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    async with Gateway(api_url(), _ADMIN_TOKEN) as api:
        hub = JupyterHub(address, folder, log, process, api)
        try:
            await until_serving(hub)
            yield hub
        finally:
            await hub.end()


async def until_serving(hub: JupyterHub) -> None:
    """Wait until the hub answers, and reaches its proxy."""

    async def serves():
        assert hub.process.returncode is None, hub.log.read_text()
        try:
            await hub.api.request("GET", "/")
            async with Gateway(f"http://{hub.address}:{_PUBLIC}", "") as public:
                await public.request("GET", "/hub/api/")
        except (aiohttp.ClientError, Refused):
            return False
        return True

    await within_timeout(eventually(serves))
    hub._find_processes()
