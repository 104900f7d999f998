"""The Docker API, with the errors of the client library aiodocker translated to `EngineError`."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import os
from collections.abc import AsyncGenerator, Awaitable, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aiodocker
import aiohttp
from aiodocker.networks import DockerNetwork

from gateway_provisioners.dockerd.credentials import registry_and_credentials
from gateway_provisioners.errors import ConfigurationError, EngineError
from gateway_provisioners.model.container import status as container_status
from gateway_provisioners.model.objects import Object

T = TypeVar("T")

_NO_CONNECTION = 900  # the library's own status
_REQUEST_SECONDS = 60.0
_PULL_SECONDS = 3600.0
_NO_ANSWER = "The Docker engine does not answer"
SERVICE_NAME_LABEL = "com.docker.swarm.service.name"
# podman says "remove" for "destroy", and until 4.3 reports "die" only if "died" is asked for.
_EVENTS = ("create", "start", "die", "died", "oom", "destroy", "remove")


class DockerApi:
    """One connection pool to one engine; make it with `connect`."""

    def __init__(self, docker: aiodocker.Docker) -> None:
        self._docker = docker
        self._info: Mapping[str, Any] = {}

    @classmethod
    async def connect(cls) -> DockerApi:
        """Connect as the docker command does: DOCKER_HOST, the current context, or the usual socket.

        Raises:
            ConfigurationError: this finds no valid address; nothing has been sent anywhere.
            EngineError: the engine does not answer.
        """
        try:
            docker = aiodocker.Docker(timeout=aiohttp.ClientTimeout(total=_REQUEST_SECONDS))
        except (AssertionError, ValueError, OSError, aiodocker.DockerError) as error:
            cause = "there is no socket at the usual place"
            if os.environ.get("DOCKER_HOST"):
                cause = "DOCKER_HOST is not a valid address"
            msg = (
                f"No Docker engine to start kernels on: {cause}. Set DOCKER_HOST to the engine's address, "
                "as in unix:///var/run/docker.sock."
            )
            raise ConfigurationError(msg) from error
        api = cls(docker)
        try:
            api._info = dict(await _answer(docker.system.info()))
        except BaseException:
            await api.close()
            raise
        return api

    async def close(self) -> None:
        """Close all connections; the stream of events breaks."""
        await self._docker.close()

    @property
    def info(self) -> Mapping[str, Any]:
        """The engine's `docker info` when the connection was made."""
        return self._info

    @property
    def log_driver(self) -> str:
        """The engine's own log driver; "" for podman, which does not name it."""
        return str(self._info.get("LoggingDriver") or "")

    @property
    def is_podman(self) -> bool:
        """True for podman, which has the same API, but no swarm."""
        return container_status.is_podman(self._info)

    async def clock(self) -> float:
        """Return the engine's time, in seconds since 1970."""
        info = await _answer(self._docker.system.info())
        # Without nanoseconds, which the parser does not accept.
        text = f"{str(info['SystemTime'])[:19]}+00:00"
        return dt.datetime.fromisoformat(text).timestamp()

    async def events(self, since: float) -> AsyncGenerator[Object, None]:
        """Yield the events of containers and services after `since`, until the stream breaks.

        Raises:
            EngineError: it broke.
        """
        events: Any = self._docker.events  # not typed
        subscriber = events.subscribe(create_task=False)
        filters = {"type": ["container", "service"], "event": list(_EVENTS)}
        stream = asyncio.create_task(events.run(since=repr(since), filters=filters))
        try:
            while (event := await subscriber.get()) is not None:
                yield event
            with _translated_errors():
                await stream
            raise EngineError("the engine closed the stream of events")
        finally:
            stream.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await stream

    @property
    def remote_host(self) -> str:
        """The name or address of the engine's machine; "" where the engine is reached by a local socket."""
        host = urlsplit(str(self._docker.docker_host))
        return host.hostname or "" if host.scheme in {"http", "https"} else ""

    async def inspect_network(self, name: str) -> Object | None:
        """Return the inspected network, or None if it does not exist or may not be inspected."""
        try:
            network: Any = DockerNetwork(self._docker, name)  # type: ignore[no-untyped-call]
            return await _found(network.show())
        except EngineError as error:
            # By a proxy between this process and the engine.
            if error.status == HTTPStatus.FORBIDDEN:
                return None
            raise

    # Images.

    async def image(self, name: str) -> Object | None:
        """Return the inspected image, or None if the engine does not have it."""
        return await _found(self._docker.images.inspect(name))

    async def pull(self, name: str) -> None:
        """Have the engine pull an image, with this process's credentials for its registry."""
        full_name, credentials = await asyncio.to_thread(registry_and_credentials, name)
        await _answer(self._docker.images.pull(full_name, auth=credentials, timeout=_PULL_SECONDS))

    # Containers.

    async def create_container(self, name: str, config: Object) -> None:
        """Create a container, which does not run yet."""
        await _answer(self._docker.containers.create(config, name=name))

    async def put_archive(self, name: str, archive: bytes) -> None:
        """Unpack a tar at the container's root."""
        await _answer(self._container(name).put_archive("/", archive))

    async def start_container(self, name: str) -> None:
        """Start a container that was created."""
        await _answer(self._container(name).start())

    async def inspect_container(self, name: str) -> Object | None:
        """Return the inspected container, or None if it does not exist."""
        container = await _found(self._container(name).show())
        if container is None or container_status.reports_oom(self._info):
            return container
        return container_status.with_likely_oom(container)

    async def list_containers(self, labels: Sequence[str]) -> list[str]:
        """Return the names of the containers with these labels, in any state, except those of services."""
        found = await _answer(
            self._docker.containers.list(all=True, filters={"label": list(labels)})
        )
        return [
            container["Names"][0].removeprefix("/")
            for container in found
            if SERVICE_NAME_LABEL not in container["Labels"]
        ]

    async def stop_container(self, name: str, *, grace_seconds: int) -> None:
        """Stop a container; does nothing if it has ended or is gone."""
        await _found(self._container(name).stop(t=grace_seconds))

    async def remove_container(self, name: str) -> None:
        """Kill and remove a container; does nothing if it is gone or is being removed."""
        try:
            await _found(self._container(name).delete(force=True, v=True))
        except EngineError as error:
            if "already in progress" not in str(error):
                raise

    async def container_log(self, name: str, *, lines: int) -> str:
        """Return the last `lines` lines of a container's log."""
        log = self._container(name).log(stdout=True, stderr=True, tail=lines)
        return "".join(await _answer(log))

    def _container(self, name: str) -> Any:
        return self._docker.containers.container(name)

    # Swarm.

    async def create_secret(self, name: str, content: bytes, labels: Mapping[str, str]) -> str:
        """Create a Swarm secret; returns its id."""
        answer = await _answer(
            self._docker.secrets.create(name, content.decode(), labels=dict(labels))
        )
        return str(answer["ID"])

    async def remove_secret(self, name: str) -> None:
        """Remove a Swarm secret; does nothing if it is gone."""
        await _found(self._docker.secrets.delete(name))

    async def create_service(self, service: Object) -> None:
        """Create a service from the body of the API's request."""
        template = dict(service["TaskTemplate"])
        container = dict(template["ContainerSpec"])
        # The library expects a dict and turns it into this list again.
        container["Env"] = dict(each.split("=", 1) for each in container["Env"])
        template["ContainerSpec"] = container
        full_name, credentials = await asyncio.to_thread(
            registry_and_credentials, container["Image"]
        )
        await _answer(
            self._docker.services.create(
                template,
                name=service["Name"],
                labels=service["Labels"],
                mode=service["Mode"],
                networks=service.get("Networks"),
                endpoint_spec=service["EndpointSpec"],
                auth=credentials,  # for the nodes, which pull the image
                registry=full_name.partition("/")[0],
            )
        )

    async def list_services(self, labels: Sequence[str]) -> list[str]:
        """Return the names of the services with these labels."""
        services: Any = self._docker.services.list(filters={"label": list(labels)})
        return [str(service["Spec"]["Name"]) for service in await _answer(services)]

    async def list_secrets(self, labels: Sequence[str]) -> list[str]:
        """Return the names of the Swarm secrets with these labels."""
        secrets: Any = self._docker.secrets.list(filters={"label": list(labels)})
        return [str(secret["Spec"]["Name"]) for secret in await _answer(secrets)]

    async def list_tasks(self, labels: Sequence[str]) -> list[Object]:
        """Return the tasks whose containers have these labels, including those of removed services."""
        tasks: Any = self._docker.tasks.list(filters={"label": list(labels)})
        return list(await _answer(tasks))

    async def remove_service(self, name: str) -> None:
        """Remove a service; does nothing if it is gone."""
        await _found(self._docker.services.delete(name))

    async def service_log(self, name: str, *, lines: int) -> str:
        """Return the last `lines` lines of the log of a service's tasks."""
        log: Any = self._docker.services.logs(name, stdout=True, stderr=True, tail=str(lines))
        return "".join(await _answer(log))


async def _found(call: Awaitable[T]) -> T | None:
    """Return the answer, or None if it is "not found"."""
    try:
        return await _answer(call)
    except EngineError as error:
        if error.status == HTTPStatus.NOT_FOUND:
            return None
        raise


async def _answer(call: Awaitable[T]) -> T:
    with _translated_errors():
        return await call


@contextlib.contextmanager
def _translated_errors() -> Iterator[None]:
    try:
        yield
    except aiodocker.DockerStreamError as error:  # an error after an answer of 200
        raise EngineError(str(error.message), status=HTTPStatus.INTERNAL_SERVER_ERROR) from error
    except aiodocker.DockerError as error:
        if error.status == _NO_CONNECTION:
            raise EngineError(f"{_NO_ANSWER}: {error.message}") from error
        raise EngineError(str(error.message), status=error.status) from error
    except asyncio.TimeoutError as error:
        raise EngineError(f"{_NO_ANSWER} in time.") from error
    except (aiohttp.ClientError, OSError) as error:
        raise EngineError(f"{_NO_ANSWER}: {type(error).__name__}: {error}") from error
