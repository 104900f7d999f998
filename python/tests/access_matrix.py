"""The routes of a gateway, the access that each needs, and what a user without it is answered."""

from __future__ import annotations

import json
from dataclasses import dataclass

import aiohttp

from gateway_provisioners.model.ownership import Access

KERNEL = "KERNEL_ID"
SESSION = "SESSION_ID"


@dataclass(frozen=True)
class Route:
    """A method and a path; `needs` is the access to the kernel that the path names, if it names one."""

    method: str
    path: str
    needs: Access | None = None
    body: object = None


# A route that ends the kernel comes last.
ROUTES = [
    Route("GET", "/api"),
    Route("GET", "/api/kernels"),
    Route("POST", "/api/kernels", body={"name": "no-such-kernel"}),
    Route("GET", "/api/kernelspecs"),
    Route("GET", "/api/kernelspecs/SPEC"),
    Route("GET", "/kernelspecs/SPEC/kernel.json"),
    Route("HEAD", "/kernelspecs/SPEC/kernel.json"),
    Route("GET", "/api/sessions"),
    Route("POST", "/api/sessions", body={"path": "x.ipynb", "kernel": {"name": "no-such-kernel"}}),
    Route("GET", "/readyz"),
    Route("GET", "/no/such/page"),
    Route("GET", f"/api/sessions/{SESSION}", Access.READ),
    Route("PATCH", f"/api/sessions/{SESSION}", Access.FULL, {"path": "renamed.ipynb"}),
    Route("GET", f"/api/kernels/{KERNEL}", Access.READ),
    Route("GET", f"/api/kernels/{KERNEL}/channels", Access.READ),
    Route("GET", f"/api/kernels/{KERNEL}/progress", Access.READ),
    Route("PATCH", f"/api/kernels/{KERNEL}", Access.OWNER, {}),
    Route("POST", f"/api/kernels/{KERNEL}/interrupt", Access.FULL),
    Route("POST", f"/api/kernels/{KERNEL}/restart", Access.FULL),
    Route("DELETE", f"/api/sessions/{SESSION}", Access.FULL),
    Route("DELETE", f"/api/kernels/{KERNEL}", Access.FULL),
]
ENDING = [route for route in ROUTES if route.method == "DELETE"]


@dataclass(frozen=True)
class Answer:
    """An answer of a gateway."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def reason(self) -> str:
        return str(json.loads(self.text)["reason"])

    def says(self, text: str) -> bool:
        """Return whether a text is in the body or in a header."""
        return text in self.text or any(text in value for value in self.headers.values())


async def ask(
    url: str, token: str, route: Route, *, kernel: str = "", session: str = "", spec: str = ""
) -> Answer:
    """Send a request, and return the answer; a websocket that opens is closed again."""
    path = route.path.replace(KERNEL, kernel).replace(SESSION, session).replace("SPEC", spec)
    headers = {"Authorization": f"token {token}"} if token else {}
    async with aiohttp.ClientSession(headers=headers) as client:
        if path.endswith("/channels"):
            try:
                async with client.ws_connect(url + path) as websocket:
                    return Answer(101, dict(websocket._response.headers), "")
            except aiohttp.WSServerHandshakeError as refused:
                return Answer(refused.status, dict(refused.headers or {}), "")
        async with client.request(route.method, url + path, json=route.body) as response:
            return Answer(response.status, dict(response.headers), await response.text())
