"""The kernels that a gateway offers, checked and bounded: its answer is any server's."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway_provisioners_client.gateway.words import in_one_line

MOST_SPECS = 1000
_MOST_METADATA = 16 * 1024
_MOST_LOGOS = 8
# What jupyter_client takes for the name of a kernelspec, without names that mean a folder, or a hidden one.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_LOGO = re.compile(r"logo-[A-Za-z0-9]{1,16}")
_LOGO_PATH = re.compile(r"/[^/\s\\?#][^\s\\?#]{0,998}")


@dataclass(frozen=True)
class RemoteKernelSpec:
    """A kernel that the gateway offers.

    Attributes:
        interrupt_mode: `signal` or `message`, as the gateway's own kernelspec says.
        logos: paths at the gateway, by name without suffix, such as `logo-64x64`.
    """

    name: str
    display_name: str
    language: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    interrupt_mode: str = "signal"
    logos: Mapping[str, str] = field(default_factory=dict)

    @property
    def has_debugger(self) -> bool:
        """True if clients may offer their debugger for it."""
        return self.metadata.get("debugger") is True


@dataclass(frozen=True)
class KernelSpecs:
    """All kernels that the gateway offers to this user.

    Attributes:
        default: the name of one of them, or "".
        left_out: how many could not be used, since their names are not valid, or there are too many.
    """

    default: str = ""
    specs: Mapping[str, RemoteKernelSpec] = field(default_factory=dict)
    left_out: int = 0


def specs_of(answer: object) -> KernelSpecs | None:
    """Return the kernels of an answer to `GET /api/kernelspecs`; None if it is not such an answer."""
    entries = answer.get("kernelspecs") if isinstance(answer, dict) else None
    if not isinstance(answer, dict) or not isinstance(entries, dict):
        return None
    specs: dict[str, RemoteKernelSpec] = {}
    for name, entry in entries.items():
        spec = _spec_of(name, entry)
        if spec and len(specs) < MOST_SPECS:
            specs[name] = spec
    default = answer.get("default")
    if not isinstance(default, str) or default not in specs:
        default = ""
    return KernelSpecs(default, specs, len(entries) - len(specs))


def _spec_of(name: str, entry: object) -> RemoteKernelSpec | None:
    if not _NAME.fullmatch(name) or not isinstance(entry, dict):
        return None
    spec = entry.get("spec")
    if not isinstance(spec, dict):
        return None
    mode = spec.get("interrupt_mode")
    return RemoteKernelSpec(
        name,
        display_name=in_one_line(spec.get("display_name"), 100) or name,
        language=in_one_line(spec.get("language"), 40),
        metadata=_bounded(spec.get("metadata")),
        interrupt_mode=mode if mode in {"signal", "message"} else "signal",
        logos=_logos_of(entry.get("resources")),
    )


def _bounded(metadata: object) -> dict[str, Any]:
    if not isinstance(metadata, dict) or len(json.dumps(metadata)) > _MOST_METADATA:
        return {}
    return metadata


def _logos_of(resources: object) -> dict[str, str]:
    if not isinstance(resources, dict):
        return {}
    logos = {
        name: path
        for name, path in resources.items()
        if _LOGO.fullmatch(name) and isinstance(path, str) and _LOGO_PATH.fullmatch(path)
    }
    return dict(list(logos.items())[:_MOST_LOGOS])
