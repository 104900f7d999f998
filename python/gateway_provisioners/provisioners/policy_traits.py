"""The settings that say what clients may ask for: what `model.client_policy` enforces."""

from __future__ import annotations

from dataclasses import fields

from traitlets import Bool, List, Unicode, default
from traitlets.config import LoggingConfigurable

from gateway_provisioners.model.request.client_policy import DEFAULT_GPU_RESOURCE, ClientPolicy
from gateway_provisioners.provisioners.variables import flag, names, text


class ClientPolicyTraits(LoggingConfigurable):
    """What clients may ask for."""

    max_cpus = Unicode(
        help="The most that clients may ask for in KERNEL_CPUS and KERNEL_CPUS_LIMIT, such as 4 or 500m; "
        "empty is no limit. (GP_MAX_CPUS)"
    ).tag(config=True)
    max_memory = Unicode(
        help="The same for KERNEL_MEMORY and KERNEL_MEMORY_LIMIT, such as 16Gi. (GP_MAX_MEMORY)"
    ).tag(config=True)
    max_gpus = Unicode(help="The same for KERNEL_GPUS. (GP_MAX_GPUS)").tag(config=True)
    gpu_resource = Unicode(
        DEFAULT_GPU_RESOURCE, help="What KERNEL_GPUS counts, as nodes offer it."
    ).tag(config=True)
    client_ids = Bool(
        help="Whether clients may choose the kernel's user and group id. (GP_CLIENT_IDS)"
    ).tag(config=True)
    prohibited_uids = List(
        Unicode(),
        help="User ids, and ranges such as 0-999, that clients may not choose. (GP_PROHIBITED_UIDS, 0)",
    ).tag(config=True)
    prohibited_gids = List(Unicode(), help="The same for group ids. (GP_PROHIBITED_GIDS, 0)").tag(
        config=True
    )
    client_service_accounts = List(
        Unicode(),
        help="Service accounts that clients may choose. (GP_CLIENT_SERVICE_ACCOUNTS)",
    ).tag(config=True)
    client_claims = List(
        Unicode(),
        help="PersistentVolumeClaims that clients may mount with KERNEL_VOLUMES; {username} as in volumes. "
        "(GP_CLIENT_CLAIMS)",
    ).tag(config=True)
    mirror_working_dirs = Bool(
        help="Start the kernel in the client's KERNEL_WORKING_DIR, which the image must have. "
        "(GP_MIRROR_WORKING_DIRS)"
    ).tag(config=True)

    @property
    def client_policy(self) -> ClientPolicy:
        """All of it.

        Raises:
            ConfigurationError: a setting cannot be read.
        """
        return ClientPolicy(
            **{setting.name: getattr(self, setting.name) for setting in fields(ClientPolicy)}
        )

    @default("max_cpus")
    def _default_max_cpus(self) -> str:
        return text("GP_MAX_CPUS")

    @default("max_memory")
    def _default_max_memory(self) -> str:
        return text("GP_MAX_MEMORY")

    @default("max_gpus")
    def _default_max_gpus(self) -> str:
        return text("GP_MAX_GPUS")

    @default("client_ids")
    def _default_client_ids(self) -> bool:
        return flag("GP_CLIENT_IDS", fallback=False)

    @default("prohibited_uids")
    def _default_prohibited_uids(self) -> list[str]:
        return names("GP_PROHIBITED_UIDS", ("0",))

    @default("prohibited_gids")
    def _default_prohibited_gids(self) -> list[str]:
        return names("GP_PROHIBITED_GIDS", ("0",))

    @default("client_service_accounts")
    def _default_client_service_accounts(self) -> list[str]:
        return names("GP_CLIENT_SERVICE_ACCOUNTS")

    @default("client_claims")
    def _default_client_claims(self) -> list[str]:
        return names("GP_CLIENT_CLAIMS")

    @default("mirror_working_dirs")
    def _default_mirror_working_dirs(self) -> bool:
        return flag("GP_MIRROR_WORKING_DIRS", fallback=False)
