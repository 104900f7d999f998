"""What a registry asks for, as `docker login` of whoever runs this process has stored it."""

from __future__ import annotations

from http import HTTPStatus

from docker import auth, errors

from gateway_provisioners.errors import EngineError

Credentials = dict[str, str]


def registry_and_credentials(image: str) -> tuple[str, Credentials | None]:
    """The name of an image with its registry's, and the credentials for that if there are any; blocks.

    They are in the configuration of the docker command ($DOCKER_CONFIG, or ~/.docker), or in the store
    that it names.

    Raises:
        EngineError: the name is none, or the store could not be asked.
    """
    try:
        registry, repository = auth.resolve_repository_name(image)
        return f"{registry}/{repository}", auth.load_config().resolve_authconfig(registry)
    except errors.DockerException as error:
        raise EngineError(str(error), status=HTTPStatus.UNAUTHORIZED) from error
