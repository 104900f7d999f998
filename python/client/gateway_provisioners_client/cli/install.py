"""`jupyter gateway-spec install`: a kernelspec here for each kernel of a gateway."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway_provisioners_client.cli import files, pictures
from gateway_provisioners_client.cli.contents import (
    Environment,
    choose_name,
    kernel_json,
)
from gateway_provisioners_client.errors import ClientError, ConfigurationError
from gateway_provisioners_client.gateway.api import GatewayApi
from gateway_provisioners_client.gateway.config import GatewayConfig
from gateway_provisioners_client.gateway.specs import KernelSpecs, RemoteKernelSpec


@dataclass(frozen=True)
class Request:
    """All that an installation needs to know.

    Attributes:
        kernels: the names of kernels at the gateway; all without any.
        folder: for kernelspecs.
        private: whether only the user may read them.
        replace: whether kernelspecs of the same kernels may be replaced.
    """

    config: GatewayConfig
    kernels: Sequence[str]
    environment: Environment
    folder: Path
    private: bool
    replace: bool


@dataclass(frozen=True)
class Result:
    """The kernelspecs that were installed, by name and folder, and notes for the user."""

    written: list[tuple[str, Path]]
    notes: list[str]


async def install(request: Request) -> Result:
    """Install the kernelspecs; nothing is written unless all of them can be.

    Raises:
        ClientError: the gateway does not answer, or an option makes no sense for it.
    """
    files.check_writable(request.folder)
    async with GatewayApi(request.config) as api:
        offered = await api.kernelspecs()
        remotes = _chosen(offered, request)
        names = _names(remotes, request)
        notes = _left_out(offered)
        written = []
        for remote, name in zip(remotes, names, strict=True):
            logos = await _logos(api, remote, notes)
            folder = request.folder / name
            spec = kernel_json(remote, request.config, request.environment)
            files.write(folder, spec, logos, private=request.private)
            written.append((name, folder))
    return Result(written, notes)


def _chosen(offered: KernelSpecs, request: Request) -> list[RemoteKernelSpec]:
    if not offered.specs:
        raise ConfigurationError(
            f"The gateway {request.config.host} offers you no kernels; ask its administrator."
        )
    if unknown := [name for name in request.kernels if name not in offered.specs]:
        offers = ", ".join(sorted(offered.specs)[:20])
        raise ConfigurationError(
            f"The gateway {request.config.host} offers no kernel {unknown[0]!r}; use one of: {offers}."
        )
    return [offered.specs[name] for name in dict.fromkeys(request.kernels or offered.specs)]


def _names(remotes: Sequence[RemoteKernelSpec], request: Request) -> list[str]:
    """Return a name for each kernelspec: that which it has here, or a new one.

    Raises:
        ConfigurationError: one is installed already, and must not be replaced.
    """
    here = {
        (spec.origin.url, spec.origin.kernel): spec.name for spec in _installed_in(request.folder)
    }
    taken = files.all_names() | _names_in(request.folder)
    names = []
    for remote in remotes:
        known = here.get((request.config.url, remote.name))
        if known and not request.replace:
            raise ConfigurationError(
                f"The kernel {remote.name!r} of {request.config.host} is installed already, as "
                f"{known!r}. Use --replace to install it again."
            )
        name = known or choose_name(remote.name, request.config, taken.__contains__)
        taken.add(name)
        names.append(name)
    return names


def _installed_in(folder: Path) -> list[files.Installed]:
    found = (files.look(path) for path in _folders_in(folder))
    return [spec for spec in found if spec]


def _names_in(folder: Path) -> set[str]:
    """Return the names in a folder, which Jupyter may not look into: that of another prefix."""
    return {path.name.lower() for path in _folders_in(folder)}


def _folders_in(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _left_out(offered: KernelSpecs) -> list[str]:
    if not offered.left_out:
        return []
    note = f"{offered.left_out} kernels of the gateway are left out: their names are not valid, "
    return [f"{note}or there are too many."]


async def _logos(api: GatewayApi, remote: RemoteKernelSpec, notes: list[str]) -> dict[str, bytes]:
    """Return the logos of a kernel by file name; one that is not as it should be is left out, with a note."""
    logos = {}
    for name, path in remote.logos.items():
        try:
            content = await api.logo(path)
            logos[f"{name}{pictures.suffix_of(content)}"] = content
        except (ClientError, pictures.NotAPicture) as error:
            reason = str(error).partition("\n")[0]
            notes.append(f"A logo of {remote.name!r} is left out: {reason}.".replace("..", "."))
    return logos
