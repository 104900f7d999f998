"""Settings of a kernelspec: validate them, and build kernel.json from them.

The format of kernel.json is jupyter_client's (https://jupyter-client.readthedocs.io/en/stable/kernels.html);
the content of `metadata.kernel_provisioner` is ours, compatible with gateway-provisioners 0.5.0.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway_provisioners.model.request.launch_request import SPARK_INIT_MODES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NO_FOLDER = "/dev/null"
"""The resource_dir of a kernelspec that has no folder, and so neither files nor a launch script of its own.

A folder that cannot exist: the handlers that look for logos would take an empty name for the current one.
"""
DEFAULT_LAUNCH_TIMEOUT = 30
DEFAULT_PORT_RANGE = "0..0"
DEFAULT_UNAUTHORIZED_USERS = ("root",)
DEFAULT_KERNEL_CLASS = "ipykernel.ipkernel.IPythonKernel"
MIN_PORT_RANGE_SIZE = 1000


@dataclass(frozen=True)
class Target:
    """A place where kernels of a kernelspec run.

    Attributes:
        provisioner: the entry point of the provisioner that runs them.
        launch_script: path in the kernelspec's folder of the script to start one by hand.
    """

    provisioner: str
    launch_script: str


KUBERNETES = Target("kubernetes-provisioner", "scripts/launch_kubernetes.py")
DOCKER = Target("docker-provisioner", "scripts/launch_docker.py")
DOCKER_SWARM = Target("docker-swarm-provisioner", "scripts/launch_docker.py")


@dataclass(frozen=True)
class Language:
    """A language of kernels.

    Attributes:
        title: for display names.
        in_kernel_json: as notebooks record it.
        image: repository of the image that this project publishes for it.
    """

    title: str
    in_kernel_json: str
    image: str


# The languages with launchers and images in this project. An image may contain a launcher for another
# one (docs/write-a-launcher.md).
LANGUAGES = {
    "python": Language("Python", "python", "elyra/kernel-py"),
    "r": Language("R", "R", "elyra/kernel-r"),
    "scala": Language("Scala", "scala", "elyra/kernel-scala"),
}
# The same rule as in bootstrap-kernel.sh and the chart: the name is that of a folder in the image.
_LANGUAGE_NAME = re.compile(r"[a-z][a-z0-9+#._-]{0,31}")


def is_language_name(text: str) -> bool:
    """Return whether `text` can name a language: one of LANGUAGES, or one that an image adds."""
    return _LANGUAGE_NAME.fullmatch(text) is not None


@dataclass(frozen=True)
class KernelSpecSettings:
    """The settings that kernel.json is built from.

    Attributes:
        name: of the kernelspec's folder.
        resource_dir: absolute path of that folder, where the gateway finds it.
        language: a key of LANGUAGES, or another whose launcher is in the image.
        image_name: the image; "" if this release has no image for the language.
        launch_timeout: seconds to wait for a kernel to start.
        port_range: `<lowest>..<highest>` port of the kernel, or 0..0 for any port.
        authorized_users: the users who may start it; empty for all who are not unauthorized.
        kernel_class_name: dotted path of an ipykernel Kernel class; for Python only.
    """

    name: str
    display_name: str
    language: str
    image_name: str
    resource_dir: str
    target: Target = KUBERNETES
    executor_image_name: str | None = None
    launch_timeout: int = DEFAULT_LAUNCH_TIMEOUT
    port_range: str = DEFAULT_PORT_RANGE
    authorized_users: Sequence[str] = ()
    unauthorized_users: Sequence[str] = DEFAULT_UNAUTHORIZED_USERS
    kernel_class_name: str = DEFAULT_KERNEL_CLASS
    spark_init_mode: str = "none"


def build_kernel_json(settings: KernelSpecSettings) -> dict[str, Any]:
    """Return the content of kernel.json, its keys in the documented order."""
    python = settings.language == "python"
    known = LANGUAGES.get(settings.language)
    argv = [
        "python",
        f"{settings.resource_dir}/{settings.target.launch_script}",
        *("--kernel-id", "{kernel_id}"),
        *("--port-range", "{port_range}"),
        *("--response-address", "{response_address}"),
        *("--public-key", "{public_key}"),
    ]
    if settings.spark_init_mode != "none":
        argv += ["--spark-context-initialization-mode", settings.spark_init_mode]
    if python:
        argv += ["--kernel-class-name", settings.kernel_class_name]
    metadata: dict[str, Any] = {"debugger": True} if python else {}
    metadata["kernel_provisioner"] = {
        "provisioner_name": settings.target.provisioner,
        "config": _provisioner_config(settings),
    }
    return {
        "argv": argv,
        "env": {},
        "display_name": settings.display_name,
        "language": known.in_kernel_json if known else settings.language,
        "interrupt_mode": "signal",
        "metadata": metadata,
    }


def _provisioner_config(settings: KernelSpecSettings) -> dict[str, Any]:
    """Return the image, the timeout, and the settings that differ from the provisioner's defaults."""
    config: dict[str, Any] = {"image_name": settings.image_name}
    if settings.executor_image_name:
        config["executor_image_name"] = settings.executor_image_name
    if settings.authorized_users:
        config["authorized_users"] = list(settings.authorized_users)
    if tuple(settings.unauthorized_users) != DEFAULT_UNAUTHORIZED_USERS:
        config["unauthorized_users"] = list(settings.unauthorized_users)
    if settings.port_range != DEFAULT_PORT_RANGE:
        config["port_range"] = settings.port_range
    config["launch_timeout"] = settings.launch_timeout
    return config


def problems(settings: KernelSpecSettings) -> list[str]:
    """Return the problems of the settings, each a sentence that begins with the option."""
    return [
        *_name_problems(settings),
        *_image_problems("--image-name", settings.image_name),
        *_image_problems("--executor-image-name", settings.executor_image_name),
        *_number_problems(settings),
        *_user_problems(settings),
        *_python_problems(settings),
    ]


def _name_problems(settings: KernelSpecSettings) -> Iterator[str]:
    # Jupyter's own rule, without hidden names and relative paths.
    if not re.fullmatch(r"[a-z0-9_][a-z0-9._-]*", settings.name):
        suggestion = re.sub(r"[^a-z0-9._-]+", "_", settings.name.lower()).lstrip(".-")
        yield (
            f"--kernel-name: {settings.name!r} is not a valid kernelspec name; use lower-case letters,"
            f" digits and . _ -" + (f", as in {suggestion}." if suggestion else ".")
        )
    if not settings.display_name.strip() or not settings.display_name.isprintable():
        yield f"--display-name: {settings.display_name!r} must be non-empty printable text."
    if not is_language_name(settings.language):
        yield (
            f"--language: {settings.language!r} is not a valid language name; use a letter, then up to 31"
            " letters, digits and + # . _ -."
        )
    elif not settings.image_name:
        yield (
            f"--language: this release has images for {', '.join(LANGUAGES)} only; set --image-name to"
            f" one with a launcher for {settings.language!r}."
        )
    if settings.spark_init_mode not in SPARK_INIT_MODES:
        known = ", ".join(SPARK_INIT_MODES)
        yield f"--spark-init-mode: {settings.spark_init_mode!r} must be one of: {known}."


# https://github.com/distribution/reference/blob/main/regexp.go
_HOST_PART = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_HOST = rf"(?:{_HOST_PART}(?:\.{_HOST_PART})*|\[[a-fA-F0-9:]+\])"
_PATH_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_IMAGE = re.compile(
    rf"(?P<name>(?:{_HOST}(?::[0-9]+)?/)?{_PATH_PART}(?:/{_PATH_PART})*)"
    r"(?::\w[\w.-]{0,127})?"
    r"(?:@[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,})?",
    re.ASCII,
)
_MAX_IMAGE_NAME = 255


def is_image_name(text: str) -> bool:
    """Return whether `text` can name a container image: [registry[:port]/]path[:tag][@digest]."""
    match = _IMAGE.fullmatch(text)
    return match is not None and len(match["name"]) <= _MAX_IMAGE_NAME


def _image_problems(option: str, image: str | None) -> Iterator[str]:
    if image and not is_image_name(image):
        yield (
            f"{option}: {image!r} is not a valid image name; use the form"
            " [registry[:port]/]path[:tag][@digest], the path in lower case."
        )


def _number_problems(settings: KernelSpecSettings) -> Iterator[str]:
    if not isinstance(settings.launch_timeout, int) or settings.launch_timeout < 1:
        yield f"--launch-timeout: {settings.launch_timeout!r} must be a whole number of seconds above 0."
    if problem := port_range_problem(settings.port_range):
        yield f"--port-range: {problem}"


def port_range_problem(port_range: str) -> str | None:
    """Return the problem of a port range, or None if it is valid."""
    if port_range == DEFAULT_PORT_RANGE:
        return None
    match = re.fullmatch(r"([0-9]{1,5})\.\.([0-9]{1,5})", port_range)
    if not match:
        return f"{port_range!r} is not of the form <lowest>..<highest>, such as 40000..41000."
    lowest, highest = int(match[1]), int(match[2])
    if lowest < 1024 or highest > 65535:
        return f"{port_range!r} is outside the allowed range 1024-65535."
    if highest - lowest < MIN_PORT_RANGE_SIZE:
        return (
            f"{port_range!r} is too small; use a range of at least {MIN_PORT_RANGE_SIZE} ports,"
            " or 0..0 for any port."
        )
    return None


def _user_problems(settings: KernelSpecSettings) -> Iterator[str]:
    for option, users in (
        ("--authorized-users", settings.authorized_users),
        ("--unauthorized-users", settings.unauthorized_users),
    ):
        for user in users:
            if not user.strip() or "," in user:
                yield f"{option}: {user!r} is not a valid user name; repeat the option for each user."
    for user in settings.authorized_users:
        if user in settings.unauthorized_users:
            yield f"--authorized-users: {user!r} is also in --unauthorized-users; remove it from one."


def _python_problems(settings: KernelSpecSettings) -> Iterator[str]:
    name = settings.kernel_class_name
    parts = name.split(".")
    if len(parts) < 2 or not all(part.isidentifier() for part in parts):
        yield (
            f"--ipykernel-subclass-name: {name!r} is not the dotted path of a class,"
            f" such as {DEFAULT_KERNEL_CLASS}."
        )
    if name != DEFAULT_KERNEL_CLASS and settings.language != "python":
        yield "--ipykernel-subclass-name: only Python kernels use ipykernel; remove the option."
