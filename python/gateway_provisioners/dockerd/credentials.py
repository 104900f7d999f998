"""Credentials for registries that `docker login` has stored: the only importer of the docker library."""

from __future__ import annotations

from http import HTTPStatus

from docker import auth, errors

from gateway_provisioners.errors import EngineError

Credentials = dict[str, str]


def registry_and_credentials(image: str) -> tuple[str, Credentials | None]:
    """Return the name of an image with its registry's, and the credentials for that or None; blocks.

    The credentials are in the configuration of the docker command ($DOCKER_CONFIG, or ~/.docker), or in
    the store that it names.

    Raises:
        EngineError: the name is not valid, or the store could not be read.
    """
    try:
        registry, repository = auth.resolve_repository_name(image)
        return f"{registry}/{repository}", auth.load_config().resolve_authconfig(registry)
    except errors.DockerException as error:
        raise EngineError(str(error), status=HTTPStatus.UNAUTHORIZED) from error
