"""The gateway's kernelspecs: those on disk and, live, those of the release's ConfigMap."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from jupyter_client.kernelspec import KernelSpec, KernelSpecManager, NoSuchKernel
from jupyter_client.provisioning.factory import KernelProvisionerFactory
from jupyter_client.provisioning.local_provisioner import LocalProvisioner
from traitlets import TraitError, default

from gateway_provisioners.gateway.kernels.culling import IDLE_TIMEOUT, MAX_LIFETIME
from gateway_provisioners.gateway.kernels.logos import LOGO, Logos
from gateway_provisioners.gateway.process.health import Check
from gateway_provisioners.model.kernelspec import NO_FOLDER
from gateway_provisioners.provisioners.profiles import PROFILE_OF
from gateway_provisioners.settings import from_env, names

_SUFFIX = ".json"
_TEXTS = ("display_name", "language", "mimetype", "interrupt_mode", "kernel_protocol_version")


class _Unusable(Exception):
    """A kernel.json that no kernel can be started from; the message says why."""


class ConfigMapSource(Protocol):
    """A source of ConfigMaps, such as `kube.cache.ObjectCache`."""

    @property
    def objects(self) -> Mapping[str, Mapping[str, Any]]: ...

    @property
    def synced(self) -> bool: ...

    def subscribe(self, listener: Callable[[str, dict[str, Any]], None]) -> Callable[[], None]: ...


class GatewayKernelSpecManager(KernelSpecManager):
    """Kernelspecs from the standard directories and from a watched ConfigMap, which has precedence.

    The ConfigMap is read when it changes, not with each request.
    """

    allowed_kernelspecs: set[str] = from_env(
        "GP_ALLOWED_KERNELS",
        set(),
        "Names of the only kernelspecs that clients may see and start; empty: all.",
        parse=lambda text: {name.lower() for name in names(text)},
        default_text="",
    )
    logos_dir: str = from_env(
        "GP_LOGOS_DIR",
        "",
        "A folder with logos of the kernelspecs of the ConfigMap, as CONFIGMAP/KEY.",
    )

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._source: ConfigMapSource | None = None
        self._watched: dict[str, KernelSpec] = {}
        self._problems: dict[str, str] = {}
        self.logos = Logos(self.logos_dir)

    @default("ensure_native_kernel")
    def _ensure_native_kernel_default(self) -> bool:
        # Where ipykernel is installed, the gateway still does not offer to run code on its own machine.
        return False

    def follow(self, source: ConfigMapSource) -> None:
        """Serve, from now on, the kernelspecs in the keys `<kernel name>.json` of the source's ConfigMaps."""
        self._source = source
        source.subscribe(lambda _change, _configmap: self._read(source.objects))
        self._read(source.objects)

    def check(self) -> Check:
        """Check readiness: an unusable kernelspec is reported, and the others are served all the same."""
        if self._source is not None and not self._source.synced:
            return Check(ok=False, detail="the ConfigMap of kernelspecs has not been read yet")
        problems = "; ".join(self._problems.values())
        return Check(ok=True, detail=problems or f"{len(self._watched)} from the ConfigMap")

    def find_kernel_specs(self) -> dict[str, str]:
        """Return resource directories by kernel name, of the kernelspecs that clients may use."""
        found = super().find_kernel_specs()
        found.update((name, spec.resource_dir) for name, spec in self._allowed_watched().items())
        return found

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        """Return the kernelspec of that name; unlike upstream, only if clients may use it.

        Raises:
            NoSuchKernel: it does not exist, clients may not use it, or its provisioner is not installed.
        """
        name = kernel_name.lower()
        if watched := self._allowed_watched().get(name):
            return watched
        directory = super().find_kernel_specs().get(name)
        if directory is None:
            raise NoSuchKernel(kernel_name)
        return self._get_kernel_spec_by_name(name, directory)

    def folder_of(self, kernel_name: str) -> str:
        """Return the resource directory of a running kernel's kernelspec; "" if it is not known."""
        return NO_FOLDER if kernel_name.lower() in self._watched else ""

    def _allowed_watched(self) -> dict[str, KernelSpec]:
        if not self.allowed_kernelspecs:
            return self._watched
        return {n: spec for n, spec in self._watched.items() if n in self.allowed_kernelspecs}

    def _read(self, configmaps: Mapping[str, Mapping[str, Any]]) -> None:
        watched: dict[str, KernelSpec] = {}
        problems: dict[str, str] = {}
        for configmap in configmaps.values():
            for key, content in sorted((configmap.get("data") or {}).items()):
                if not key.endswith(_SUFFIX):
                    continue
                name = key.removesuffix(_SUFFIX).lower()
                try:
                    watched[name] = self._parsed(content)
                except _Unusable as error:
                    problems[key] = f"kernelspec {key} is left out: {error}"
        for key, problem in problems.items():
            if self._problems.get(key) != problem:
                self.log.error("%s", problem)
        self._watched, self._problems = watched, problems

    def _parsed(self, content: str) -> KernelSpec:
        """Read a kernel.json.

        Raises:
            _Unusable: no kernel can be started from it.
        """
        try:
            model = json.loads(content)
        except ValueError as error:
            raise _Unusable(f"not JSON ({error})") from error
        if not isinstance(model, dict):
            raise _Unusable("not a JSON object")
        _check(model)
        known = {key: model[key] for key in (*_TEXTS, "argv", "env", "metadata") if key in model}
        try:
            spec = KernelSpec(resource_dir=NO_FOLDER, **known)
        except TraitError as error:
            raise _Unusable(str(error)) from error
        if not KernelProvisionerFactory.instance(parent=self.parent).is_provisioner_available(spec):
            raise _Unusable("its kernel provisioner is not installed here")
        return spec


def runs_beside_gateway(spec: KernelSpec) -> bool:
    """Return whether the kernels of a kernelspec whose provisioner is installed are child processes."""
    factory = KernelProvisionerFactory.instance()
    named = spec.metadata.get("kernel_provisioner", {})
    name = named.get("provisioner_name", factory.default_provisioner_name)
    return issubclass(factory.provisioners[name].load(), LocalProvisioner)


def _check(model: Mapping[str, Any]) -> None:
    """Raise `_Unusable` for mistakes that would otherwise show only when a kernel is started."""
    argv, env, metadata = model.get("argv"), model.get("env", {}), model.get("metadata", {})
    if not isinstance(argv, list) or not argv or not all(isinstance(part, str) for part in argv):
        raise _Unusable("`argv` is not a list of strings")
    for key in ("display_name", "language"):
        if not isinstance(model.get(key), str) or not model[key]:
            raise _Unusable(f"`{key}` is not a string")
    if not isinstance(env, dict) or not all(isinstance(value, str) for value in env.values()):
        raise _Unusable("`env` is not an object of strings")
    provisioner = metadata.get("kernel_provisioner", {}) if isinstance(metadata, dict) else None
    if not isinstance(provisioner, dict) or not isinstance(provisioner.get("config", {}), dict):
        raise _Unusable("`metadata.kernel_provisioner` or its `config` is not an object")
    if not isinstance(metadata.get(PROFILE_OF, ""), str):
        raise _Unusable(f"`metadata.{PROFILE_OF}` is not a string")
    for key in (IDLE_TIMEOUT, MAX_LIFETIME):
        if key in metadata and not _is_count(metadata[key]):
            raise _Unusable(f"`metadata.{key}` is not a whole number of seconds")
    if not isinstance(metadata.get(LOGO, ""), str):
        raise _Unusable(f"`metadata.{LOGO}` is not a string")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
