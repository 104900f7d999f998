"""Access to the Kubernetes API: as the pod's service account, or by a kubeconfig."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import time
import weakref
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import yaml
from kubernetes.aio import client, config
from kubernetes.aio.config.incluster_config import SERVICE_TOKEN_FILENAME
from kubernetes.aio.config.kube_config import KubeConfigLoader, KubeConfigMerger

from gateway_provisioners.errors import ConfigurationError
from gateway_provisioners.kube import exec_plugin
from gateway_provisioners.kube.exec_plugin import ExecCredential
from gateway_provisioners.model.proxies import check_proxy, proxy_for

# As client-go does; another process renews such tokens.
FILE_SECONDS = 60.0
# The time before its expiry at which a credential of a plugin is renewed.
EARLY_SECONDS = 60.0


class _Folder:
    """A temporary folder, which is removed with this object."""

    def __init__(self) -> None:
        self.path = Path(mkdtemp(prefix="kubeconfig-"))
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


@dataclass(frozen=True)
class Access:
    """The address of an API server, and a credential for it.

    Attributes:
        configuration: of the client library.
        renew_in: seconds after which it should be loaded again; None: not before it is refused.
        expires_in: seconds after which the API server will refuse it; None: not known.
        connection: the same for two of them that can share connections.
        files: keeps the files of its certificate, or None.
    """

    configuration: client.Configuration = field(repr=False)
    renew_in: float | None = None
    expires_in: float | None = None
    connection: tuple[object, ...] = ()
    files: object = None


async def load_access() -> Access:
    """Return the access of the pod's service account, or else of the kubeconfig's current context.

    Raises:
        ConfigurationError: neither exists, or the kubeconfig cannot be used.
        ClusterError: a plugin, which the kubeconfig names, gives no credential.
    """
    if _has_service_account():
        return await asyncio.to_thread(_of_service_account)
    return await _of_kubeconfig()


def _has_service_account() -> bool:
    return bool(os.environ.get("KUBERNETES_SERVICE_HOST")) and Path(SERVICE_TOKEN_FILENAME).exists()


def _of_service_account() -> Access:
    # Never by a proxy: the API server is a Service of this cluster, whatever NO_PROXY says.
    configuration = client.Configuration()
    try:
        config.load_incluster_config(  # type: ignore[no-untyped-call]
            client_configuration=configuration, try_refresh_token=False
        )
    except (config.ConfigException, OSError) as error:
        raise ConfigurationError(f"The pod's service account cannot be used: {error}") from error
    return Access(configuration, FILE_SECONDS, None, _connection(configuration))


async def _of_kubeconfig() -> Access:
    # The library reads KUBECONFIG once, when it is imported.
    paths = os.environ.get("KUBECONFIG") or "~/.kube/config"
    configuration = client.Configuration()
    try:
        loader = await asyncio.to_thread(_loader, paths)
        await loader.load_and_set(configuration)  # type: ignore[no-untyped-call]
        connection = await asyncio.to_thread(_connection, configuration)
    except config.ConfigException as error:
        raise _unusable(str(error)) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)  # the whole message may quote the file
        where = f" in line {mark.line + 1} of {mark.name}" if mark else ""
        raise _unusable(f"it is not valid YAML{where}") from None
    except OSError as error:
        raise _unusable(f"{error.filename}: {error.strerror}") from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _unusable(f"it is malformed ({type(error).__name__})") from error
    if configuration.proxy:
        configuration.proxy = check_proxy(
            configuration.proxy, source="the kubeconfig's `proxy-url`"
        )
    else:
        configuration.proxy = proxy_for(configuration.host, os.environ)
    return loader.access(configuration, connection)


def _unusable(cause: str) -> ConfigurationError:
    return ConfigurationError(
        "No Kubernetes cluster to start kernels on: this process has no service account, and no usable "
        f"kubeconfig ({cause}). Set KUBECONFIG to the path of one."
    )


def _loader(paths: str) -> _Loader:
    """Read the files of KUBECONFIG as kubectl does: the first one that sets a value wins."""
    files = KubeConfigMerger(paths)  # type: ignore[no-untyped-call]
    contexts = [content.get("current-context") for content in files.config_files.values()]
    context = next(filter(None, contexts), None)
    return _Loader(  # type: ignore[no-untyped-call]
        files.config, active_context=context, config_base_path=None
    )


class _Loader(KubeConfigLoader):
    """The library's reader, which would run plugins without a limit and log what they print."""

    _user: Any
    _cluster: Any
    _from_plugin: ExecCredential | None = None
    _files: _Folder | None = None
    _reads_token = False

    def access(self, configuration: client.Configuration, connection: tuple[object, ...]) -> Access:
        """Return the access that has been loaded."""
        renew_in = FILE_SECONDS if self._reads_token else None
        expires_in = None
        if self._from_plugin is not None and self._from_plugin.expires_at is not None:
            expires_in = self._from_plugin.expires_at - time.time()
            renew_in = expires_in - EARLY_SECONDS
        return Access(configuration, renew_in, expires_in, connection, self._files)

    async def load_from_exec_plugin(self) -> bool:
        """Run the plugin that the user's entry names."""
        credential = await exec_plugin.run(
            self._user["exec"].value,
            cluster=self._cluster_info(),
            folder=self._folder(),
        )
        self._from_plugin = credential
        if credential.token:
            self.token = f"Bearer {credential.token}"
        if credential.certificate:
            await asyncio.to_thread(self._write_certificate, credential)
        return True

    def _write_certificate(self, credential: ExecCredential) -> None:
        self._files = _Folder()
        certificate, key = self._files.path / "tls.crt", self._files.path / "tls.key"
        certificate.write_text(credential.certificate)
        key.write_text(credential.key)
        self.cert_file, self.key_file = str(certificate), str(key)

    def _load_user_token(self) -> bool:
        """Prefer a token in a file, as kubectl does; the library prefers the other one."""
        if "tokenFile" not in self._user:
            return bool(super()._load_user_token())  # type: ignore[no-untyped-call]
        file = self._folder() / self._user["tokenFile"]
        self.token = f"Bearer {file.read_text().strip()}"
        self._reads_token = True
        return True

    def _folder(self) -> Path:
        """Return the folder of the file that holds the user's entry."""
        return Path(self._get_base_path(self._user.path))  # type: ignore[no-untyped-call]

    def _cluster_info(self) -> dict[str, Any]:
        """Return what a plugin may learn of the cluster (client.authentication.k8s.io, Cluster)."""
        cluster = self._cluster.value
        passed_on = (
            "server",
            "tls-server-name",
            "insecure-skip-tls-verify",
            "certificate-authority-data",
            "proxy-url",
        )
        info = {name: cluster[name] for name in passed_on if name in cluster}
        for extension in cluster.get("extensions") or ():
            if extension.get("name") == "client.authentication.k8s.io/exec":
                info["config"] = extension.get("extension")
        return info


def _connection(configuration: client.Configuration) -> tuple[object, ...]:
    """Return all that connections depend on; files that keep their names may be renewed."""
    files = (configuration.ssl_ca_cert, configuration.cert_file, configuration.key_file)
    return (
        configuration.host,
        configuration.verify_ssl,
        configuration.tls_server_name,
        configuration.proxy,
        *(file and hashlib.sha256(Path(file).read_bytes()).digest() for file in files),
    )
