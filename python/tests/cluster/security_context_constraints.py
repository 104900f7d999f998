"""OpenShift's SCC `restricted-v2`, as far as it is about ids: an admission webhook on this host.

A real one also sets SELinux options and capabilities, which do not depend on the chart.
"""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from aiohttp import web
from kubectl import Kubectl

from api.certificates import write_certificate

FIRST_ID = 1000970000
IDS = range(FIRST_ID, FIRST_ID + 10000)


def assign_ids(pod: Mapping[str, Any]) -> tuple[str, list[dict[str, Any]]]:
    """Return why a pod is refused, or "", and a JSON patch that gives it the namespace's ids."""
    spec = pod["spec"]
    context = spec.get("securityContext") or {}
    containers = [*spec.get("initContainers", ()), *spec["containers"]]
    for place in (context, *(container.get("securityContext") or {} for container in containers)):
        if place.get("runAsUser", FIRST_ID) not in IDS:
            return f"runAsUser: Invalid value: {place['runAsUser']}: must be in the ranges", []
    groups = [*context.get("supplementalGroups", ()), context.get("fsGroup", FIRST_ID)]
    if not set(groups) <= set(IDS):
        return f"fsGroup: Invalid value: {groups}: is not an allowed group", []
    assigned = {"fsGroup": FIRST_ID, "runAsUser": FIRST_ID, **context}
    return "", [{"op": "add", "path": "/spec/securityContext", "value": assigned}]


async def _review(request: web.Request) -> web.Response:
    review = await request.json()
    refusal, patch = assign_ids(review["request"]["object"])
    response = {"uid": review["request"]["uid"], "allowed": not refusal}
    if refusal:
        response["status"] = {"message": f"unable to validate against any SCC: {refusal}"}
    else:
        encoded = base64.b64encode(json.dumps(patch).encode()).decode()
        response.update(patchType="JSONPatch", patch=encoded)
    return web.json_response({**review, "response": response})


def _address_towards(server: str) -> str:
    """Return the address at which this host and the API server see each other."""
    host, _, port = server.rpartition("/")[2].rpartition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host, int(port)))
        return str(probe.getsockname()[0])


@contextlib.asynccontextmanager
async def restricted_v2(kubectl: Kubectl, namespace: str, folder: Path) -> AsyncIterator[None]:
    """Assign ids to the pods of `namespace`, and refuse those that ask for others."""
    server = await kubectl(
        "config", "view", "--minify", "--output=jsonpath={.clusters[0].cluster.server}"
    )
    address = _address_towards(server)
    write_certificate(folder, address)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    application = web.Application(client_max_size=4 * 1024 * 1024)
    application.router.add_post("/", _review)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, address, 0, ssl_context=context)
    await site.start()
    _, port = runner.addresses[0]
    name = f"{namespace}-scc"
    await kubectl.apply(
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": name},
            "webhooks": [
                {
                    "name": "scc.example.com",
                    "admissionReviewVersions": ["v1"],
                    "sideEffects": "None",
                    "clientConfig": {
                        "url": f"https://{address}:{port}/",
                        "caBundle": base64.b64encode((folder / "tls.crt").read_bytes()).decode(),
                    },
                    "namespaceSelector": {
                        "matchLabels": {"kubernetes.io/metadata.name": namespace}
                    },
                    "rules": [
                        {
                            "apiGroups": [""],
                            "apiVersions": ["v1"],
                            "operations": ["CREATE"],
                            "resources": ["pods"],
                        }
                    ],
                }
            ],
        }
    )
    try:
        yield
    finally:
        await kubectl("delete", "mutatingwebhookconfiguration", name)
        await runner.cleanup()
