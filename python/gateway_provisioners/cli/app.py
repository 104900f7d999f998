"""Base classes of the command-line programs: strict options, one-line errors, exit codes."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from jupyter_core.application import JupyterApp, NoStart, base_aliases, base_flags
from traitlets.config.loader import ArgumentError, KVArgParseConfigLoader, _KVArgParser

from gateway_provisioners._version import __version__
from gateway_provisioners.errors import GatewayProvisionersError

if TYPE_CHECKING:
    from collections.abc import Callable

    from traitlets.config import Configurable

FAILED = 1
BAD_USAGE = 2

COMMON_ALIASES: dict[str, Any] = {name: base_aliases[name] for name in ("log-level", "config")}
COMMON_FLAGS: dict[str, Any] = {"debug": base_flags["debug"]}


class _Parser(_KVArgParser):
    def error(self, message: str) -> NoReturn:
        """Raise; argparse would print the usage of all options and exit."""
        raise ArgumentError(message)


class StrictLoader(KVArgParseConfigLoader):
    """Refuses unknown options; traitlets would only warn and ignore them."""

    parser_class = _Parser

    def __init__(self, *args: Any, refuse: Callable[[str], NoReturn], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._refuse = refuse

    def _parse_args(self, args: Any) -> None:
        try:
            super()._parse_args(args)
        except ArgumentError as error:
            message = str(error)
            for alias, trait in self.aliases.items():
                message = message.replace(f"--{trait}", f"--{alias}")
            self._refuse(f"{message.capitalize()}; --help lists the options.")

    def _handle_unrecognized_alias(self, arg: str) -> NoReturn:
        self._refuse(f"Unknown option --{arg}; --help lists the options.")


class Command(JupyterApp):
    """A subcommand, such as `install`: subclasses implement `run`."""

    version = __version__

    def _create_loader(
        self,
        argv: list[str] | None,
        aliases: dict[str, Any],
        flags: dict[str, Any],
        classes: list[type[Configurable]] | None,
    ) -> KVArgParseConfigLoader:
        return StrictLoader(argv, aliases, flags, classes=classes, log=self.log, refuse=self.refuse)

    def start(self) -> None:
        """Call `run`; turn errors into a line on stderr and a non-zero exit code."""
        super().start()
        if self.extra_args:
            self.refuse(f"Unexpected argument {self.extra_args[0]!r}; --help lists the options.")
        if self.config_file and not Path(self.config_file).is_file():
            self.refuse(f"--config: there is no file {self.config_file}.")
        try:
            self.run()
        except GatewayProvisionersError as error:
            self.log.error("%s", error)  # noqa: TRY400  (the message is for a user: no traceback)
            self.exit(FAILED)

    def run(self) -> None:
        """Do the work; raise GatewayProvisionersError on failure."""
        raise NotImplementedError

    def refuse(self, *reasons: str) -> NoReturn:
        """Print the reasons, one line each, and exit with BAD_USAGE."""
        for reason in reasons:
            self.log.error("%s", reason)
        self.exit(BAD_USAGE)
        raise AssertionError


class Program(JupyterApp):
    """A `jupyter <program>` that consists of subcommands."""

    version = __version__
    aliases: dict[str, Any] = {}  # noqa: RUF012  (traitlets reads plain class attributes)
    flags: dict[str, Any] = {}  # noqa: RUF012

    @classmethod
    def main(cls, argv: list[str] | None = None) -> None:
        """Run the program; exit the process when it refuses its options or fails."""
        program = cls()
        program.initialize(argv)
        with suppress(NoStart):
            program.start()

    def start(self) -> None:
        """Run the subcommand, or list the available ones."""
        super().start()
        known = " | ".join(self.subcommands)
        given = self.extra_args[0] if self.extra_args else None
        problem = f"Unknown subcommand {given!r}" if given else "No subcommand given"
        self.log.error("%s; use: %s %s", problem, self.name, known)
        self.exit(BAD_USAGE)
