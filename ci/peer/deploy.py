"""Put the peer's gateway onto a cluster."""

from __future__ import annotations

import base64
import json
import secrets

from ci.clusters import Cluster
from ci.commands import run
from ci.peer import manifests
from ci.peer.images import PEER_GATEWAY

PORT = 8888


def install(cluster: Cluster, namespace: str) -> str:
    """Deploy it into a namespace, wait until it is ready, and return its token.

    Its pods do not meet Pod Security `restricted`: the namespace must not require that.
    """
    token = secrets.token_hex(24)
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": manifests.NAME, "namespace": namespace},
        "data": {"token": base64.b64encode(token.encode()).decode()},
    }
    objects = manifests.build(namespace, PEER_GATEWAY.reference, PORT)
    listed = {"apiVersion": "v1", "kind": "List", "items": [secret, *objects]}
    kubectl = (
        cluster.kubectl,
        f"--kubeconfig={cluster.kubeconfig}",
        f"--namespace={namespace}",
    )
    run(*kubectl, "apply", "--filename=-", stdin=json.dumps(listed))
    run(*kubectl, "rollout", "status", f"deployment/{manifests.NAME}", "--timeout=120s")
    return token
