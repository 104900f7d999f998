"""Requests and limits, as Kubernetes writes them."""

from __future__ import annotations

from collections.abc import Mapping


def merged(
    kernelspecs: Mapping[str, Mapping[str, str]], clients: Mapping[str, Mapping[str, str]]
) -> dict[str, dict[str, str]]:
    """The kernelspec's resources, with what the client asked for in their place."""
    return {
        kind: {**kernelspecs.get(kind, {}), **clients.get(kind, {})}
        for kind in {**kernelspecs, **clients}
    }
