"""The programs that build images: docker, buildah or podman, behind one interface.

buildah works without a service and without a registry: as root, in a chroot, with a storage folder
of this project.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, cast

from ci import enter
from ci.commands import CommandError, UserError, run
from ci.paths import cache

# The image's label that holds the hash of its inputs.
INPUTS_LABEL = "gateway-provisioners.inputs"

# BuildKit's, in bytes.
_LARGEST_SECRET = 500 * 1024

# What buildah prints when its copy cannot be sealed at the moment.
_SEAL_BUSY = "sealing memfd copy: Device or resource busy"
_SEAL_ATTEMPTS = 5

# A command that runs a container and ends with it, and its environment.
StartCommand = tuple[Sequence[str], Mapping[str, str]]


class Builder(ABC):
    """Builds, looks up, runs and exports images."""

    name: str

    @abstractmethod
    def build(
        self,
        context: Path,
        tag: str,
        inputs: str,
        build_args: Mapping[str, str],
        mounts: Mapping[str, Path],
        *,
        cached: bool = True,
    ) -> None:
        """Build a folder's Dockerfile and label the image with the hash of its inputs.

        Not ``cached``, every step is run, also one that an earlier build has run.
        """

    @abstractmethod
    def inputs_of(self, tag: str) -> str | None:
        """Return the hash that the image was labelled with; None when there is no such image."""

    @abstractmethod
    def run(self, tag: str, script: str) -> str:
        """Run a bash script in a new container of the image, as the image's user; return its output."""

    @abstractmethod
    def config(self, tag: str) -> Mapping[str, Any] | None:
        """Return the image's User, Env, Entrypoint, Cmd and WorkingDir; None when there is no such image."""

    @abstractmethod
    def container(
        self, tag: str, user: str, variables: Mapping[str, str]
    ) -> AbstractContextManager[StartCommand]:
        """Give a command that runs the image's own as a user, on this host's network, without any capability.

        ``variables`` are added to the image's; their values do not appear on a command line.
        """

    @abstractmethod
    def shell(self, tag: str, folder: Path) -> AbstractContextManager[list[str]]:
        """Give a command that runs the bash script appended to it in a new container, until the block ends.

        It runs as the image's user, with this machine's network and processes, and with ``folder`` at the
        same path.
        """

    @abstractmethod
    def export(self, tag: str, archive: Path) -> None:
        """Write the image as a docker-archive."""

    @abstractmethod
    def image_id(self, tag: str) -> str | None:
        """Return the id of the image; None when there is no such image."""

    @abstractmethod
    def pull(self, reference: str) -> None:
        """Get an image from its registry. Raises CommandError when that fails."""

    @abstractmethod
    def digests(self, reference: str) -> list[str]:
        """Return the digests of an image in the registries that it came from; none if it was built here."""

    @abstractmethod
    def remove(self, image: str) -> None:
        """Remove an image by its name or id, unless others are built on it."""


class Docker(Builder):
    """The docker CLI, with BuildKit; podman takes the same arguments."""

    name = "docker"

    def __init__(self, host: str = "") -> None:
        """``host`` is the Docker engine's, as DOCKER_HOST has it; "" is the CLI's own choice."""
        self._docker = [self.name, f"--host={host}"] if host else [self.name]

    def cli(self, *arguments: str | Path, env: Mapping[str, str] | None = None) -> str:
        """Run a command of the CLI; return its output. Raises CommandError when it fails."""
        return run(*self._docker, *arguments, env=env)

    def _build_options(self, context: Path, mounts: Mapping[str, Path]) -> list[str]:
        # docker build has no volumes: a RUN step itself mounts secrets and files of the context, so each step
        # gets the option. Only secrets are not kept in the builder's cache.
        options: list[str] = []
        flags = ""
        for number, (target, file) in enumerate(mounts.items()):
            if file.stat().st_size > _LARGEST_SECRET:
                name = f"gp{number}"
                shutil.copyfile(file, context / name)
                flags += f" --mount=type=bind,source={name},target={target}"
            else:
                options += ["--secret", f"id=gp{number},src={file}"]
                flags += f" --mount=type=secret,id=gp{number},target={target},mode=0444"
        dockerfile = context / "Dockerfile"
        dockerfile.write_text(
            re.sub(r"^RUN\b", f"RUN{flags}", dockerfile.read_text(), flags=re.MULTILINE)
        )
        return options

    def build(
        self,
        context: Path,
        tag: str,
        inputs: str,
        build_args: Mapping[str, str],
        mounts: Mapping[str, Path],
        *,
        cached: bool = True,
    ) -> None:
        # This machine's network, as its package index may be, or its name server, on this machine itself.
        options = ["--network=host", *self._build_options(context, mounts)]
        for key, value in build_args.items():
            options += ["--build-arg", f"{key}={value}"]
        if not cached:
            options.append("--no-cache")
        label = f"{INPUTS_LABEL}={inputs}"
        env = {**os.environ, "DOCKER_BUILDKIT": "1"}
        self.cli("build", *options, "--label", label, "--tag", tag, context, env=env)

    def _inspect(self, tag: str, template: str) -> str | None:
        try:
            return self.cli("image", "inspect", "--format", template, tag).strip() or None
        except CommandError:
            return None

    def inputs_of(self, tag: str) -> str | None:
        return self._inspect(tag, f'{{{{index .Config.Labels "{INPUTS_LABEL}"}}}}')

    def image_id(self, tag: str) -> str | None:
        return self._inspect(tag, "{{.Id}}")

    def run(self, tag: str, script: str) -> str:
        return self.cli("run", "--rm", "--network", "none", tag, "bash", "-c", script)

    def config(self, tag: str) -> Mapping[str, Any] | None:
        text = self._inspect(tag, "{{json .Config}}")
        return cast("Mapping[str, Any]", json.loads(text)) if text else None

    @contextmanager
    def container(
        self, tag: str, user: str, variables: Mapping[str, str]
    ) -> Iterator[StartCommand]:
        name = f"gateway-provisioners-check-{uuid.uuid4().hex[:8]}"
        arguments = ["run", "--rm", "--name", name, "--network", "host", "--user", user]
        arguments += ["--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
        # Without a value: it is taken from the environment of the CLI.
        arguments += [f"--env={variable}" for variable in variables]
        try:
            yield [*self._docker, *arguments, tag], {**os.environ, **variables}
        finally:
            with suppress(CommandError):  # as a rule it has gone already
                self.cli("rm", "--force", name)

    def shell(self, tag: str, folder: Path) -> AbstractContextManager[list[str]]:
        shared = ["--network=host", "--pid=host", f"--volume={folder}:{folder}"]
        return nullcontext([*self._docker, "run", "--rm", *shared, "--entrypoint=bash", tag, "-c"])

    def export(self, tag: str, archive: Path) -> None:
        self.cli("save", "--output", archive, tag)

    def pull(self, reference: str) -> None:
        self.cli("pull", "--quiet", reference)

    def digests(self, reference: str) -> list[str]:
        known = json.loads(self._inspect(reference, "{{json .RepoDigests}}") or "null") or []
        return sorted({digest.rpartition("@")[2] for digest in known})

    def remove(self, image: str) -> None:
        try:
            self.cli("image", "rm", image)
        except CommandError:
            return  # a container or another image still uses it


class Podman(Docker):
    """The podman CLI: docker's, with volumes in a build."""

    name = "podman"

    def _build_options(self, context: Path, mounts: Mapping[str, Path]) -> list[str]:  # noqa: ARG002
        return [f"--volume={file}:{target}:ro" for target, file in mounts.items()]

    def export(self, tag: str, archive: Path) -> None:
        self.cli("save", "--format", "docker-archive", "--output", archive, tag)


class Buildah(Builder):
    """The buildah CLI as root, without a service: RUN steps in a chroot, images in the cache."""

    name = "buildah"

    @staticmethod
    def _command() -> list[str]:
        storage = cache() / "buildah"
        place = (f"--root={storage}/storage", f"--runroot={storage}/run")
        return ["buildah", "--storage-driver=overlay", *place]

    def _buildah(self, *arguments: str | Path) -> str:
        # buildah starts each step from a sealed copy of itself in memory. While the kernel moves one of
        # its pages, sealing fails with EBUSY, and the step has not begun: fcntl(2) leaves it to us.
        for _ in range(_SEAL_ATTEMPTS - 1):
            try:
                return run(*self._command(), *arguments)
            except CommandError as error:
                if _SEAL_BUSY not in str(error):
                    raise
        return run(*self._command(), *arguments)

    def build(
        self,
        context: Path,
        tag: str,
        inputs: str,
        build_args: Mapping[str, str],
        mounts: Mapping[str, Path],
        *,
        cached: bool = True,
    ) -> None:
        options = [f"--volume={file}:{target}:ro" for target, file in mounts.items()]
        options += [f"--build-arg={key}={value}" for key, value in build_args.items()]
        if not cached:
            options.append("--no-cache")
        label = f"--label={INPUTS_LABEL}={inputs}"
        # --pull=false: a parent that was built here is never looked for in a registry.
        common = ["--isolation=chroot", "--layers", "--pull=false", "--format=docker"]
        # --force-rm: a build that fails would leave its container, which would keep its layers forever.
        common.append("--force-rm")
        self._buildah("build", *common, *options, label, f"--tag={tag}", context)

    def _inspect(self, tag: str, template: str) -> str | None:
        try:
            return (
                self._buildah("inspect", "--type=image", f"--format={template}", tag).strip()
                or None
            )
        except CommandError:
            return None

    def inputs_of(self, tag: str) -> str | None:
        return self._inspect(tag, f'{{{{index .Docker.Config.Labels "{INPUTS_LABEL}"}}}}')

    def image_id(self, tag: str) -> str | None:
        return self._inspect(tag, "{{.FromImageID}}")

    def run(self, tag: str, script: str) -> str:
        container = self._buildah("from", "--pull-never", tag).strip()
        try:
            return self._buildah("run", "--isolation=chroot", container, "--", "bash", "-c", script)
        finally:
            self._buildah("rm", container)

    def config(self, tag: str) -> Mapping[str, Any] | None:
        try:
            image = json.loads(self._buildah("inspect", "--type=image", tag))
        except CommandError:
            return None
        return cast("Mapping[str, Any]", image["Docker"]["config"])

    @contextmanager
    def container(
        self, tag: str, user: str, variables: Mapping[str, str]
    ) -> Iterator[StartCommand]:
        config = self.config(tag) or {}
        # Not `buildah run`: a signal ends that, and not the process that it started.
        container = self._buildah("from", "--pull-never", tag).strip()
        try:
            root = self._buildah("mount", container).strip()
            own = dict(variable.split("=", 1) for variable in config.get("Env") or [])
            command = [
                *("/usr/bin/unshare", "--mount", "--pid", "--fork", "--kill-child"),
                *(sys.executable, "-I", str(Path(enter.__file__))),
                *(root, user, config.get("WorkingDir") or "/"),
                *(config.get("Entrypoint") or []),
                *(config.get("Cmd") or []),
            ]
            yield command, {**own, **variables}
        finally:
            self._buildah("rm", container)

    @contextmanager
    def shell(self, tag: str, folder: Path) -> Iterator[list[str]]:
        container = self._buildah("from", "--pull-never", tag).strip()
        options = ["--isolation=chroot", f"--volume={folder}:{folder}"]
        try:
            yield [*self._command(), "run", *options, container, "--", "bash", "-c"]
        finally:
            self._buildah("rm", container)

    def export(self, tag: str, archive: Path) -> None:
        self._buildah("push", "--quiet", "--format=v2s2", tag, f"docker-archive:{archive}:{tag}")

    def pull(self, reference: str) -> None:
        self._buildah("pull", "--quiet", reference)

    def digests(self, reference: str) -> list[str]:
        digest = self._inspect(reference, "{{.FromImageDigest}}")
        return [digest] if digest else []

    def remove(self, image: str) -> None:
        with suppress(CommandError):  # another image or a running container still uses it
            self._buildah("rmi", image)
        with suppress(CommandError):  # likewise an image that has lost its name
            self._buildah("rmi", "--prune")


def docker_answers() -> bool:
    """Return whether there is a docker CLI and an engine behind it."""
    return _answers("docker", "version", "--format", "{{.Server.Version}}")


def _answers(*command: str) -> bool:
    if shutil.which(command[0]) is None:
        return False
    try:
        run(*command)
    except CommandError:
        return False
    return True


def find_builder(wish: str | None = None) -> Builder:
    """Return the builder of that name, else the first of docker, buildah and podman that works here.

    ``wish`` is the value of BUILDER. Raises UserError when none works.
    """
    works: dict[str, tuple[Callable[[], bool], Callable[[], Builder]]] = {
        "docker": (docker_answers, Docker),
        "buildah": (lambda: os.geteuid() == 0 and _answers("buildah", "--version"), Buildah),
        "podman": (lambda: _answers("podman", "version"), Podman),
    }
    if wish and wish not in works:
        raise UserError(f"BUILDER={wish} is not supported; use one of: {', '.join(works)}")
    for name in [wish] if wish else works:
        answers, builder = works[name]
        if answers():
            return builder()
    if wish:
        raise UserError(f"BUILDER={wish} does not answer here (buildah has to run as root)")
    raise UserError(
        "none of docker, podman and (as root) buildah answers here: install one, or start its service"
    )
