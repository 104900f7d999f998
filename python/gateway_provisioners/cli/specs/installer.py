"""The common part of `k8s-spec install` and `docker-spec install`: options, checks, files."""

from __future__ import annotations

import json
import re
import sys
from abc import abstractmethod
from pathlib import Path
from typing import Any

from jupyter_core.paths import SYSTEM_JUPYTER_PATH, jupyter_data_dir, jupyter_path
from traitlets import Bool, Integer, List, Unicode, Union

from gateway_provisioners._version import __version__
from gateway_provisioners.cli import app, install_files
from gateway_provisioners.model import kernelspec

PACKAGED_KERNELSPECS = Path(__file__).parents[2] / "_kernelspecs"


class SpecInstaller(app.Command):
    """Checks the options and installs the kernelspec. The subclass's name begins each output line."""

    # Parts of the default kernel name (k8s_python) and display name (Kubernetes Python).
    name_prefix: str
    title: str

    @property
    @abstractmethod
    def target(self) -> kernelspec.Target:
        """The target that the kernelspec is for."""

    kernel_name = Unicode(
        help="Name of the kernelspec and of its folder. Default: the engine and the language, as in"
        " k8s_python."
    ).tag(config=True)
    display_name = Unicode(
        help="The kernel's name as users see it. Default: the engine and the language, as in"
        " Kubernetes R."
    ).tag(config=True)
    language = Unicode(
        "Python",
        help="The language of the kernel: Python, R or Scala (in any case), or another one that the"
        " image has a launcher for (--image-name).",
    ).tag(config=True)
    image_name = Unicode(
        help="The container image that the kernel runs in. Default: the image of this release for"
        f" the language, elyra/kernel-py:{__version__} for Python."
    ).tag(config=True)
    ipykernel_subclass_name = Unicode(
        kernelspec.DEFAULT_KERNEL_CLASS, help="For Python, the dotted path of the kernel's class."
    ).tag(config=True)
    authorized_users = List(
        Unicode(),
        help="A user (KERNEL_USERNAME, case-sensitive) who may start this kernel; all others may"
        " not. Repeat for more than one. Default: all users.",
    ).tag(config=True)
    unauthorized_users = List(
        Unicode(),
        list(kernelspec.DEFAULT_UNAUTHORIZED_USERS),
        help="A user who may not start this kernel. Repeat for more than one; replaces the default.",
    ).tag(config=True)
    port_range = Unicode(
        kernelspec.DEFAULT_PORT_RANGE,
        help="The ports that the kernel may open, as <lowest>..<highest>: at least"
        f" {kernelspec.MIN_PORT_RANGE_SIZE} from 1024 to 65535. 0..0: any port.",
    ).tag(config=True)
    launch_timeout = Union(
        [Integer(), Unicode()],
        default_value=kernelspec.DEFAULT_LAUNCH_TIMEOUT,
        help="Seconds to wait for the kernel to start before the launch fails.",
    ).tag(config=True)

    user = Bool(False, help="Install for this user only (in Jupyter's data directory).").tag(
        config=True
    )
    prefix = Unicode(
        help="Install into PREFIX/share/jupyter/kernels. Default: system-wide, into"
        f" {SYSTEM_JUPYTER_PATH[0]}/kernels."
    ).tag(config=True)
    replace = Bool(False, help="Replace a kernelspec of the same name.").tag(config=True)

    def run(self) -> None:
        """Check everything, then install."""
        if self.user and self.prefix:
            self.refuse("--user and --prefix (or --sys-prefix) exclude each other.")
        settings = self._settings()
        if problems := kernelspec.problems(settings):
            self.refuse(*problems)
        folder = Path(settings.resource_dir)
        if folder.exists() and not self.replace:
            self.refuse(f"There is already a kernelspec at {folder}; use --replace to replace it.")
        install_files.install_folder(folder, self._files(settings))
        self.log.info("Installed kernelspec %s in %s", settings.name, folder)
        if str(folder.parent) not in jupyter_path("kernels"):
            self.log.warning(
                "Jupyter does not look for kernels in %s here; set JUPYTER_PATH where it should.",
                folder.parent,
            )

    def _settings(self) -> kernelspec.KernelSpecSettings:
        """Return the options, completed with defaults that depend on the language."""
        language = self.language.lower()
        known = kernelspec.LANGUAGES.get(language)
        title = known.title if known else language.capitalize()
        release_image = f"{known.image}:{__version__}" if known else ""
        # Jupyter compares names in lower case.
        default_name = f"{self.name_prefix}_" + re.sub(r"[^a-z0-9._-]", "_", language)
        kernel_name = (self.kernel_name or default_name).lower()
        return kernelspec.KernelSpecSettings(
            name=kernel_name,
            display_name=self.display_name or f"{self.title} {title}",
            language=language,
            image_name=self.image_name or release_image,
            resource_dir=str(self._kernels_folder() / kernel_name),
            target=self.target,
            launch_timeout=self.launch_timeout,
            port_range=self.port_range,
            authorized_users=tuple(self.authorized_users),
            unauthorized_users=tuple(self.unauthorized_users),
            kernel_class_name=self.ipykernel_subclass_name,
            **self._target_settings(),
        )

    def _target_settings(self) -> dict[str, Any]:
        """Return further fields of `KernelSpecSettings`."""
        return {}

    def _kernels_folder(self) -> Path:
        if self.user:
            return Path(jupyter_data_dir(), "kernels")
        if self.prefix:
            return Path(self.prefix).absolute() / "share" / "jupyter" / "kernels"
        return Path(SYSTEM_JUPYTER_PATH[0], "kernels")

    def _files(self, settings: kernelspec.KernelSpecSettings) -> dict[str, install_files.NewFile]:
        content = json.dumps(kernelspec.build_kernel_json(settings), indent=2) + "\n"
        script = PACKAGED_KERNELSPECS / Path(settings.target.launch_script).name
        return {
            "kernel.json": install_files.NewFile(content.encode()),
            settings.target.launch_script: install_files.read_file(script),
            **install_files.read_folder(PACKAGED_KERNELSPECS / settings.language),
        }


def aliases_of(installer: str, *more: str) -> dict[str, Any]:
    """Return the options with a value of the installer class of that name; `more` are only its own."""
    options = (
        *("image-name", "kernel-name", "display-name", "language", "authorized-users"),
        *("unauthorized-users", "port-range", "launch-timeout", "ipykernel-subclass-name"),
        *(*more, "prefix"),
    )
    own = {option: f"{installer}.{option.replace('-', '_')}" for option in options}
    return {**own, **app.COMMON_ALIASES}


def flags_of(installer: str) -> dict[str, Any]:
    """Return the options without a value of the installer class of that name."""
    return {
        "user": ({installer: {"user": True}}, str(SpecInstaller.user.help)),
        "sys-prefix": (
            {installer: {"prefix": sys.prefix}},
            f"Install into this Python environment ({sys.prefix}/share/jupyter/kernels).",
        ),
        "replace": ({installer: {"replace": True}}, str(SpecInstaller.replace.help)),
        **app.COMMON_FLAGS,
    }
