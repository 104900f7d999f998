"""Count the requests that each gateway makes to the API server, apart from all others.

The API server counts requests by the FlowSchema that they fall under (API Priority and Fairness, metric
apiserver_flowcontrol_dispatched_requests_total). Two for each gateway's ServiceAccount separate its LISTs
from the rest. They name the priority level that a ServiceAccount's requests have anyway, so nothing else
changes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from ci.bench.api import Api, Object

VERBS: Mapping[str, list[str]] = {"list": ["list"], "other": ["*"]}
_METRIC = re.compile(
    r'^apiserver_flowcontrol_dispatched_requests_total\{flow_schema="([^"]+)".*\} (\S+)$',
    re.MULTILINE,
)


def _name(side: str, kind: str) -> str:
    return f"gp-bench-{side}-{kind}"


def names(sides: Iterable[str]) -> list[str]:
    """Return the names of all FlowSchemas that count_apart makes."""
    return [_name(side, kind) for side in sides for kind in VERBS]


def _flow_schema(
    name: str, precedence: int, verbs: list[str], namespace: str, account: str
) -> Object:
    subject = {
        "kind": "ServiceAccount",
        "serviceAccount": {"namespace": namespace, "name": account},
    }
    resources = {
        "verbs": verbs,
        "apiGroups": ["*"],
        "resources": ["*"],
        "namespaces": ["*"],
        "clusterScope": True,
    }
    return {
        "apiVersion": "flowcontrol.apiserver.k8s.io/v1",
        "kind": "FlowSchema",
        "metadata": {"name": name},
        "spec": {
            "matchingPrecedence": precedence,
            "priorityLevelConfiguration": {"name": "workload-low"},
            "distinguisherMethod": {"type": "ByUser"},
            "rules": [{"subjects": [subject], "resourceRules": [resources]}],
        },
    }


async def count_apart(api: Api, side: str, namespace: str, account: str) -> None:
    """Have the API server count what this ServiceAccount asks for by itself."""
    for precedence, (kind, verbs) in enumerate(VERBS.items(), start=1000):
        await api.post(
            "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas",
            _flow_schema(_name(side, kind), precedence, verbs, namespace, account),
        )


async def counted(api: Api, side: str) -> dict[str, float]:
    """Return how many requests of each kind (see VERBS) there were up to now."""
    counts = {name: float(value) for name, value in _METRIC.findall(await api.text("/metrics"))}
    return {kind: counts.get(_name(side, kind), 0.0) for kind in VERBS}
