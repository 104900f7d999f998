"""Merge an administrator's structured patch into a manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# The keys that identify elements of these lists (patchMergeKey in the API types of Kubernetes).
_MERGE_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "env": "name",
    "volumes": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "ports": "containerPort",
    "imagePullSecrets": "name",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
}


def apply_patch(manifest: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Return `manifest` with `patch` merged in; neither is changed.

    Objects merge by key, a null removes a key, lists of named things (containers, env, volumes, ...)
    merge by name, and any other list or value is replaced: the rules of `kubectl patch`.
    """
    merged = dict(manifest)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping):
            present = merged.get(key)
            merged[key] = apply_patch(present if isinstance(present, Mapping) else {}, value)
        elif key in _MERGE_KEYS and isinstance(value, list):
            merged[key] = _merge_named(merged.get(key) or [], value, _MERGE_KEYS[key])
        else:
            merged[key] = value
    return merged


def _merge_named(present: Sequence[Any], patch: Sequence[Any], merge_key: str) -> list[Any]:
    merged = {element.get(merge_key): element for element in present}
    for element in patch:
        name = element.get(merge_key)
        merged[name] = apply_patch(merged.get(name, {}), element)
    return list(merged.values())
