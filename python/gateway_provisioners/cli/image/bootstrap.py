"""`jupyter image-bootstrap install`: copy bootstrap-kernel.sh and the launchers into an image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from traitlets import Bool, List, Unicode

from gateway_provisioners.cli import app, install_files
from gateway_provisioners.cli.image import runtime
from gateway_provisioners.cli.image.check import ImageBootstrapChecker
from gateway_provisioners.cli.image.runtime import BOOTSTRAP, LAUNCHERS, LAUNCHERS_FOLDER
from gateway_provisioners.errors import ConfigurationError


class ImageBootstrapInstaller(app.Command):
    """Copies the launchers and the bootstrap script. The class's name begins each output line."""

    name = "jupyter-image-bootstrap"
    description = (
        "Install bootstrap-kernel.sh and the kernel launchers into a kernel image."
        " Meant for a RUN line of its Dockerfile, as root."
    )
    examples = """
jupyter image-bootstrap install
jupyter image-bootstrap install --languages python --languages r
jupyter image-bootstrap install --languages python --require-runtime
jupyter image-bootstrap install --target ./rootfs/usr/local/bin --dry-run
"""

    languages = List(
        Unicode(),
        help="A language to install the launcher of: python, r or scala. Repeat for more than one."
        " Default: every language that this package has a launcher for.",
    ).tag(config=True)
    launchers_only = Bool(
        False, help="Install the launchers and leave bootstrap-kernel.sh alone."
    ).tag(config=True)
    bootstrap_only = Bool(
        False,
        help="Install bootstrap-kernel.sh, but no launcher: for images with launchers of their own"
        " (kernel-launchers/LANGUAGE/launch).",
    ).tag(config=True)
    require_runtime = Bool(
        False,
        help="Refuse a language whose runtime is not in the image yet: Python with ipykernel, R with"
        " IRkernel, or Java, Spark and Toree. Without it the order of the Dockerfile's lines does not"
        " matter.",
    ).tag(config=True)
    target = Unicode(
        "/usr/local/bin",
        help="The folder that bootstrap-kernel.sh and kernel-launchers/ are installed into.",
    ).tag(config=True)
    dry_run = Bool(False, help="Check everything and say what would be copied; write nothing.").tag(
        config=True
    )
    source = Unicode(
        str(runtime.PACKAGED_LAUNCHERS), help="The folder that the launchers are copied from."
    ).tag(config=True)

    aliases = {  # noqa: RUF012  (traitlets reads plain class attributes)
        "languages": "ImageBootstrapInstaller.languages",
        "target": "ImageBootstrapInstaller.target",
        **app.COMMON_ALIASES,
    }
    flags = {  # noqa: RUF012
        "launchers-only": (
            {"ImageBootstrapInstaller": {"launchers_only": True}},
            str(launchers_only.help),
        ),
        "bootstrap-only": (
            {"ImageBootstrapInstaller": {"bootstrap_only": True}},
            str(bootstrap_only.help),
        ),
        "require-runtime": (
            {"ImageBootstrapInstaller": {"require_runtime": True}},
            str(require_runtime.help),
        ),
        "dry-run": ({"ImageBootstrapInstaller": {"dry_run": True}}, str(dry_run.help)),
        **app.COMMON_FLAGS,
    }

    def run(self) -> None:
        """Read and check everything, then copy."""
        if self.bootstrap_only and (self.launchers_only or self.languages):
            self.refuse("--bootstrap-only excludes --launchers-only and --languages.")
        languages = [] if self.bootstrap_only else self._chosen_languages()
        target = Path(self.target).absolute()
        launchers, script = target / LAUNCHERS_FOLDER, target / BOOTSTRAP
        contents = {LAUNCHERS[name].installed: self._launcher_files(name) for name in languages}
        bootstrap = None if self.launchers_only else self._bootstrap_file()
        if self.require_runtime:
            self._require_runtimes(languages)
        install_files.check_writable(target)
        if not self.dry_run:
            for folder, files in contents.items():
                install_files.install_folder(launchers / folder, files)
            if bootstrap:
                install_files.install_file(script, bootstrap)

        if languages:
            self.log.info(
                "Kernel-launcher files %s to %s for the following languages: %s.",
                "would be copied" if self.dry_run else "have been copied",
                launchers,
                languages,
            )
        if bootstrap:
            copied = "would be copied" if self.dry_run else "has been copied"
            self.log.info("%s %s to %s.", BOOTSTRAP, copied, target)
            self.log.info("The CMD entry in the Dockerfile should be updated to: CMD %s", script)

    def _chosen_languages(self) -> list[str]:
        """Return the languages to install, lower case, without duplicates, in the given order."""
        packaged = [name for name in LAUNCHERS if self._launcher_files(name)]
        languages = list(dict.fromkeys(name.lower() for name in self.languages)) or packaged
        problems = [
            f"--languages: {name!r} is not supported; use {', '.join(LAUNCHERS)}."
            f" A launcher of your own belongs in {LAUNCHERS_FOLDER}/{name}/launch."
            for name in languages
            if name not in LAUNCHERS
        ]
        problems += [
            f"--languages: this release has no launcher for {name!r};"
            f" it has launchers for {', '.join(packaged) or 'no language'}.{LAUNCHERS[name].how_to_make}"
            for name in languages
            if name in LAUNCHERS and name not in packaged
        ]
        if problems:
            self.refuse(*problems)
        return languages

    def _require_runtimes(self, languages: list[str]) -> None:
        missing = []
        for language in languages:
            try:
                runtime.describe_runtime(language)
            except runtime.RuntimeMissing as error:
                missing.append(f"{language}: {error}.")
        if missing:
            raise ConfigurationError(" ".join(["Nothing was installed.", *missing]))

    def _bootstrap_file(self) -> install_files.NewFile:
        path = Path(self.source) / BOOTSTRAP
        if not path.is_file():
            raise ConfigurationError(f"There is no {BOOTSTRAP} in {self.source}.")
        return install_files.NewFile(path.read_bytes(), executable=True)

    def _launcher_files(self, language: str) -> dict[str, install_files.NewFile]:
        return install_files.read_folder(Path(self.source) / LAUNCHERS[language].packaged)


class ImageBootstrap(app.Program):
    """The program `jupyter image-bootstrap`."""

    name = "jupyter image-bootstrap"
    description = "Prepare a container image to run kernels for a gateway."
    subcommands: dict[str, Any] = {  # noqa: RUF012
        "install": (ImageBootstrapInstaller, ImageBootstrapInstaller.description),
        "check": (ImageBootstrapChecker, ImageBootstrapChecker.description),
    }
