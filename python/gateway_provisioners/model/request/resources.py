"""Resource requests and limits, in the form of a container in a Pod."""

from __future__ import annotations

from collections.abc import Mapping


def merged(
    kernelspecs: Mapping[str, Mapping[str, str]], clients: Mapping[str, Mapping[str, str]]
) -> dict[str, dict[str, str]]:
    """Return the kernelspec's resources, overridden by the client's."""
    return {
        kind: {**kernelspecs.get(kind, {}), **clients.get(kind, {})}
        for kind in {**kernelspecs, **clients}
    }
