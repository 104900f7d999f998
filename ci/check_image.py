"""Check an image from outside: ``python -m ci.check_image IMAGE``, or ``make check-image IMAGE=...``.

Starts the image as the gateway would, with the builder that has it, and uses the kernel through its channels.
The check itself needs nothing in the image.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from ci.builders import Builder, find_builder
from ci.commands import CommandError, UserError, exit_code
from ci.progress import say
from gateway_provisioners.cli.finding import Finding, Level
from gateway_provisioners.cli.image.trial import try_kernel
from gateway_provisioners.model.kernelspec import is_language_name
from gateway_provisioners.model.pod.manifest import KernelPodSpec


@dataclass(frozen=True)
class User:
    """A user to run the image as; the kernel of one that is not ``usual`` may fail."""

    ids: str
    who: str
    usual: bool = True


USERS = (
    User(f"{KernelPodSpec.run_as_user}:{KernelPodSpec.run_as_group}", "the gateway's choice"),
    User("1000970000:0", "a user id of no account, as OpenShift chooses", usual=False),
)
# The languages that bootstrap-kernel.sh would find.
_LANGUAGES = """
shopt -s nullglob
cd "${KERNEL_LAUNCHERS_DIR:-/usr/local/bin/kernel-launchers}" 2>/dev/null || exit 0
[[ -e python/scripts/launch_ipykernel.py ]] && echo python
[[ -e R/scripts/launch_IRkernel.R || -e r/scripts/launch_IRkernel.R ]] && echo r
jars=(scala/lib/toree-launcher*.jar) && [[ ${#jars[@]} -gt 0 ]] && echo scala
for own in */launch; do echo "${own%/launch}"; done
"""


class Report:
    """Prints findings, and counts the problems among them."""

    def __init__(self) -> None:
        self.problems = 0

    def add(self, finding: Finding) -> None:
        """Print a finding."""
        self.problems += finding.level is Level.PROBLEM
        say(str(finding))

    def add_as_warning(self, finding: Finding) -> None:
        """Print a finding; a problem counts as a warning only."""
        level = Level.WARNING if finding.level is Level.PROBLEM else finding.level
        self.add(Finding(level, finding.about, finding.text))


def _command(config: Mapping[str, Any]) -> Finding:
    command = [*(config.get("Entrypoint") or []), *(config.get("Cmd") or [])]
    if not command:
        advice = 'CMD ["/usr/local/bin/bootstrap-kernel.sh"]'
        return Finding(Level.PROBLEM, "command", f"the image sets none; add {advice}")
    return Finding(Level.OK, "command", " ".join(command))


def _user(config: Mapping[str, Any]) -> Finding:
    user = str(config.get("User") or "root")
    uid = user.partition(":")[0]
    if uid in ("0", "root"):
        text = "the image runs as root, which Kubernetes refuses unless the pod sets another (runAsNonRoot)"
        return Finding(Level.WARNING, "user", text)
    if not uid.isdecimal():
        text = (
            f"{user} is a name, which Kubernetes cannot check (runAsNonRoot); set USER to a number"
        )
        return Finding(Level.WARNING, "user", text)
    return Finding(Level.OK, "user", f"{user} is not root, and is a number")


def _languages(builder: Builder, image: str) -> list[str]:
    try:
        return builder.run(image, _LANGUAGES).split()
    except CommandError:  # no bash, for one
        return []


def check(image: str, languages: Iterable[str], users: Iterable[User], timeout: float) -> None:
    """Check an image, and print the findings.

    Raises UserError when a kernel could not run, or when there is nothing to check.
    """
    builder = find_builder(os.environ.get("BUILDER"))
    config = builder.config(image)
    if config is None:
        raise UserError(f"{builder.name} has no image {image}: build it, or pull it, and try again")
    report = Report()
    report.add(_command(config))
    report.add(_user(config))
    chosen = list(languages) or _languages(builder, image)
    if not chosen:
        raise UserError(
            f"no launcher is below /usr/local/bin/kernel-launchers in {image}: "
            "if it has a start command of its own, set LANGUAGE=..."
        )
    for user in users if not report.problems else ():
        say(f"As {user.ids}, {user.who}:")
        for language in chosen:
            asyncio.run(
                try_kernel(
                    partial(builder.container, image, user.ids),
                    language=language,
                    timeout=timeout,
                    on_finding=report.add if user.usual else report.add_as_warning,
                )
            )
    if report.problems:
        count = "1 problem" if report.problems == 1 else f"{report.problems} problems"
        raise UserError(f"{count}: kernels cannot run in {image} as it is")
    say(f"Kernels can run in {image}: {', '.join(chosen)}.")


def _language(text: str) -> str:
    if not is_language_name(text.lower()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a valid name of a language")
    return text.lower()


def _ids(text: str) -> User:
    uid, _, gid = text.partition(":")
    if not (uid.isdecimal() and gid.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form UID:GID, in numbers")
    return User(text, "as you asked for")


def main() -> int:
    """Check the image that is named."""
    parser = argparse.ArgumentParser(prog="python -m ci.check_image", description=__doc__)
    parser.add_argument("image", help="its name, as the builder has it")
    parser.add_argument(
        *("--language", "-l"),
        action="append",
        type=_language,
        help="repeat for more than one; default: all that the image has a launcher for",
    )
    parser.add_argument(
        *("--user", "-u"),
        action="append",
        type=_ids,
        metavar="UID:GID",
        help=f"default: {' and '.join(user.ids for user in USERS)}",
    )
    parser.add_argument(
        "--timeout", type=float, default=60, help="seconds to wait for each answer (%(default)s)"
    )
    given = parser.parse_args()
    languages, users = given.language or (), given.user or USERS
    return exit_code(lambda: check(given.image, languages, users, given.timeout))


if __name__ == "__main__":
    sys.exit(main())
