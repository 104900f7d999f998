"""KERNEL_VOLUMES and KERNEL_VOLUME_MOUNTS: claims that an administrator lets clients mount.

Both are JSON lists, of a Pod's volumes and of a container's mounts. Nothing in them is passed on as is:
each checked value is copied to a fixed place in a new object.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any, TypeGuard

from gateway_provisioners.errors import InvalidRequest, PolicyViolation
from gateway_provisioners.model.quoting import quoted

VOLUMES = "KERNEL_VOLUMES"
MOUNTS = "KERNEL_VOLUME_MOUNTS"

Objects = list[dict[str, Any]]


def parse_client_volumes(
    environment: Mapping[str, str], claims: Collection[str]
) -> tuple[Objects, Objects]:
    """Return the volumes and mounts that a client asks for, renamed so that they cannot mean a kernelspec's.

    Args:
        claims: the PersistentVolumeClaims that it may mount.

    Raises:
        InvalidRequest: they are malformed.
        PolicyViolation: they are not allowed.
    """
    volumes: Objects = []
    names: dict[str, str] = {}
    for position, asked in enumerate(_objects(environment, VOLUMES)):
        name, claim = asked.get("name"), asked.get("persistentVolumeClaim")
        if set(asked) != {"name", "persistentVolumeClaim"} or not isinstance(claim, Mapping):
            msg = (
                f"Volume {position + 1} of {VOLUMES} is not allowed: it must have a name and a"
                " persistentVolumeClaim, and nothing else."
            )
            raise PolicyViolation(msg)
        if not isinstance(name, str) or name in names:
            msg = f"Volume {position + 1} of {VOLUMES} must have a unique name."
            raise InvalidRequest(msg)
        names[name] = f"client-{position + 1}"
        volumes.append({"name": names[name], "persistentVolumeClaim": _claim(claim, claims)})
    mounts = [
        _mount(mount, position, names)
        for position, mount in enumerate(_objects(environment, MOUNTS))
    ]
    return volumes, mounts


def _claim(claim: Mapping[str, Any], allowed: Collection[str]) -> dict[str, Any]:
    name = claim.get("claimName")
    if not isinstance(name, str) or name not in allowed:
        may = ", ".join(map(repr, sorted(allowed))) or "none"
        msg = (
            f"{VOLUMES} asks for the claim {quoted(name)}; clients of this kernel may mount: {may}"
            " (client_claims)."
        )
        raise PolicyViolation(msg)
    return {"claimName": name, "readOnly": _flag(claim, VOLUMES)}


def _mount(mount: Mapping[str, Any], position: int, names: Mapping[str, str]) -> dict[str, Any]:
    where = f"Mount {position + 1} of {MOUNTS}"
    unknown = set(mount) - {"name", "mountPath", "subPath", "readOnly"}
    if unknown:
        msg = f"{where} has {quoted(min(unknown))}; use only name, mountPath, subPath and readOnly."
        raise PolicyViolation(msg)
    name, path, sub_path = mount.get("name"), mount.get("mountPath"), mount.get("subPath", "")
    if not isinstance(name, str) or name not in names:
        msg = f"{where} must name a volume of {VOLUMES}."
        raise InvalidRequest(msg)
    if not _is_text(path) or not path.startswith("/") or ":" in path:
        msg = f"The mountPath in {where} must be an absolute path without ':'."
        raise InvalidRequest(msg)
    if not _is_text(sub_path) or sub_path.startswith("/") or ".." in sub_path.split("/"):
        msg = f"The subPath in {where} must be a relative path without '..'."
        raise InvalidRequest(msg)
    made = {"name": names[name], "mountPath": path, "readOnly": _flag(mount, MOUNTS)}
    return {**made, "subPath": sub_path} if sub_path else made


def _objects(environment: Mapping[str, str], variable: str) -> Objects:
    try:
        content = json.loads(environment.get(variable) or "[]")
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, list) or not all(isinstance(each, dict) for each in content):
        msg = f"{variable} must be a JSON list of objects."
        raise InvalidRequest(msg)
    return content


def _flag(model: Mapping[str, Any], variable: str) -> bool:
    value = model.get("readOnly", False)
    if not isinstance(value, bool):
        msg = f"A readOnly in {variable} must be true or false."
        raise InvalidRequest(msg)
    return value


def _is_text(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and value.isprintable()
