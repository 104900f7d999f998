"""`jupyter image-bootstrap check`: report whether kernels can run in this image, and what is missing."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from traitlets import Bool, Float, List, Unicode

from gateway_provisioners.cli import app
from gateway_provisioners.cli.finding import Finding, Level
from gateway_provisioners.cli.image import inspection
from gateway_provisioners.cli.image.runtime import BOOTSTRAP, LAUNCHERS_FOLDER, languages_in
from gateway_provisioners.cli.image.trial import StartCommand, try_kernel
from gateway_provisioners.model.kernelspec import is_language_name


class ImageBootstrapChecker(app.Command):
    """Prints findings, one line each, and exits with 1 if a kernel cannot run."""

    name = "jupyter-image-bootstrap"
    description = (
        "Check that kernels can run in this image, and report what is missing. Meant for a RUN line of its"
        " Dockerfile, after USER, or for a running container. Each line begins with ok, warning or"
        " PROBLEM; a problem makes the exit code 1 and stops the build."
    )
    examples = """
jupyter image-bootstrap check
jupyter image-bootstrap check --languages python
jupyter image-bootstrap check --no-start
"""

    languages = List(
        Unicode(),
        help="A language to check: python, r, scala, or another one that the image has a launcher for."
        " Repeat for more than one. Default: every language that the image has a launcher for.",
    ).tag(config=True)
    start_kernels = Bool(
        True,
        help="Start a kernel of each language, run code in it, interrupt it and shut it down.",
    ).tag(config=True)
    target = Unicode(
        "/usr/local/bin", help=f"The folder of {BOOTSTRAP} and {LAUNCHERS_FOLDER}/."
    ).tag(config=True)
    timeout = Float(60, help="Seconds to wait for a kernel to report, and for each answer.").tag(
        config=True
    )

    aliases = {  # noqa: RUF012  (traitlets reads plain class attributes)
        "languages": "ImageBootstrapChecker.languages",
        "target": "ImageBootstrapChecker.target",
        "timeout": "ImageBootstrapChecker.timeout",
        **app.COMMON_ALIASES,
    }
    flags = {  # noqa: RUF012
        "no-start": (
            {"ImageBootstrapChecker": {"start_kernels": False}},
            "Check files and programs only; start no kernel.",
        ),
        **app.COMMON_FLAGS,
    }

    def run(self) -> None:
        """Check everything, then print how many problems there are."""
        target = Path(self.target).absolute()
        bootstrap, launchers = target / BOOTSTRAP, target / LAUNCHERS_FOLDER
        languages = list(dict.fromkeys(name.lower() for name in self.languages))
        for name in languages:
            if not is_language_name(name):
                self.refuse(f"--languages: {name!r} is not a valid language name.")
        languages = languages or languages_in(launchers)
        problems = self._print_all(
            [
                *inspection.bootstrap(bootstrap),
                *inspection.any_launcher(launchers, languages),
                *inspection.bash(),
                *inspection.user(),
                *inspection.accounts(),
                *inspection.temporary_files(),
                *inspection.variables(),
            ]
        )
        for language in languages:
            missing = self._print_all(
                [
                    *inspection.launcher(launchers, language),
                    *inspection.language_runtime(language),
                ]
            )
            if self.start_kernels and not problems and not missing:
                missing = asyncio.run(self._start(bootstrap, language))
            problems += missing
        if problems:
            count = "1 problem" if problems == 1 else f"{problems} problems"
            print(f"{count}: kernels cannot run in this image as it is.")  # noqa: T201
            self.exit(app.FAILED)
        print(f"Kernels can run here: {', '.join(languages)}.")  # noqa: T201

    def _print_all(self, findings: Iterable[Finding]) -> int:
        return sum(self._print(finding) for finding in findings)

    @staticmethod
    def _print(finding: Finding) -> bool:
        """Print the finding and return whether it is a problem."""
        print(finding, flush=True)  # noqa: T201
        return finding.level is Level.PROBLEM

    async def _start(self, bootstrap: Path, language: str) -> int:
        problems = 0

        def count(finding: Finding) -> None:
            nonlocal problems
            problems += self._print(finding)

        def here(variables: Mapping[str, str]) -> AbstractContextManager[StartCommand]:
            return nullcontext(([str(bootstrap)], {**os.environ, **variables}))

        await try_kernel(here, language=language, timeout=self.timeout, on_finding=count)
        return problems
