"""The program `jupyter gateway-spec`: options, output and exit codes."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from typing import TextIO

from gateway_provisioners_client._version import __version__
from gateway_provisioners_client.cli import files, install
from gateway_provisioners_client.cli.contents import environment_of
from gateway_provisioners_client.errors import ClientError, ConfigurationError
from gateway_provisioners_client.gateway.config import GatewayConfig, add_options
from gateway_provisioners_client.gateway.credentials import Credentials
from gateway_provisioners_client.gateway.header_source import is_private
from gateway_provisioners_client.gateway.words import in_one_line

FAILED = 1
BAD_USAGE = 2

_EXAMPLES = """\
examples:
  jupyter gateway-spec install --url https://gateway.example.com --token-file ~/.gateway-token
  jupyter gateway-spec install --url https://gateway.example.com --kernel custom --memory 4Gi --replace
  jupyter gateway-spec list
  jupyter gateway-spec remove --url https://gateway.example.com
"""
# Options for the sizes of kernels, and the variables in which a gateway takes them.
_SIZES = {
    "memory": ("KERNEL_MEMORY", "2Gi", "memory that each kernel has for certain"),
    "memory-limit": ("KERNEL_MEMORY_LIMIT", "4Gi", "memory that each kernel may use at most"),
    "cpus": ("KERNEL_CPUS", "0.5", "CPUs that each kernel has for certain"),
    "cpus-limit": ("KERNEL_CPUS_LIMIT", "2", "CPUs that each kernel may use at most"),
    "gpus": ("KERNEL_GPUS", "1", "GPUs of each kernel"),
    "image": (
        "KERNEL_IMAGE",
        "acme/data-sci-py:2.0",
        "image of the kernels, where the gateway lets clients choose",
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; return its exit code: 0, 1 for a failure, 2 for wrong options."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run(options)
    except ConfigurationError as error:
        return _fail(error, BAD_USAGE)
    except ClientError as error:
        return _fail(error, FAILED)
    except KeyboardInterrupt:
        return 130
    return code


def _fail(error: ClientError, code: int) -> int:
    _say(f"jupyter gateway-spec: {error}", sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="jupyter gateway-spec",
        description="Make kernels of a Jupyter gateway kernels of this machine, for every Jupyter client.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_install(commands)
    listing = _command(commands, "list", "list the kernelspecs of gateways")
    listing.add_argument("--json", action="store_true", help="as JSON")
    listing.set_defaults(run=_list)
    removal = _command(commands, "remove", "remove kernelspecs of gateways; no others are touched")
    removal.add_argument(
        "names", nargs="*", metavar="NAME", help="of kernelspecs, as `list` shows them"
    )
    removal.add_argument("--url", default="", metavar="URL", help="remove all of this gateway")
    removal.add_argument("--all", action="store_true", help="remove those of all gateways")
    removal.set_defaults(run=_remove)
    return parser


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, description: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=description,
        description=f"{description[0].upper()}{description[1:]}.",
        allow_abbrev=False,
    )
    return parser


def _add_install(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(commands, "install", "install a kernelspec for each kernel of a gateway")
    add_options(parser)
    group = parser.add_argument_group("the kernels")
    group.add_argument(
        "--kernel",
        dest="kernels",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME",
        help="of a kernel at the gateway; default: all that it offers you",
    )
    group.add_argument(
        "--env",
        action="append",
        default=[],
        metavar="NAME[=VALUE]",
        help="a variable of the kernels, if the gateway allows it; without a value, that of the environment"
        " in which a client starts the kernel: a secret belongs there, as the kernelspec holds VALUE."
        " May be repeated",
    )
    for option, (variable, example, meaning) in _SIZES.items():
        group.add_argument(
            f"--{option}",
            dest=variable,
            default="",
            metavar="VALUE",
            help=f"{meaning}, such as {example} ({variable})",
        )
    places = parser.add_argument_group(
        "the place of the kernelspecs"
    ).add_mutually_exclusive_group()
    places.add_argument("--user", action="store_true", help="for you only; the default")
    places.add_argument(
        "--sys-prefix",
        action="store_true",
        help="in the environment of Python that runs this command",
    )
    places.add_argument(
        "--prefix", default="", metavar="FOLDER", help="in FOLDER/share/jupyter/kernels"
    )
    parser.add_argument(
        "--replace",
        action="store_true",
        help="replace kernelspecs of the same kernels of this gateway",
    )
    parser.set_defaults(run=_install)


def _install(options: argparse.Namespace) -> int:
    config = GatewayConfig.from_options(options)
    variables = (variable for variable, _, _ in _SIZES.values())
    sizes = {name: value for name in variables if (value := getattr(options, name))}
    request = install.Request(
        config,
        options.kernels,
        environment_of(options.env, sizes),
        folder=files.folder_for(prefix=options.prefix, sys_prefix=options.sys_prefix),
        private=not (options.prefix or options.sys_prefix),
        replace=options.replace,
    )
    result = asyncio.run(install.install(request))
    for name, folder in result.written:
        _say(f"Installed {name} in {folder}")
    for note in (*result.notes, *_advice(config)):
        _say(f"Note: {note}", sys.stderr)
    return 0


def _advice(config: GatewayConfig) -> list[str]:
    """Return what the user should know about the token from now on."""
    place = Credentials(config).place
    advice = []
    if place.startswith("the variable"):
        advice.append(
            f"Kernels read the token in {place}: set it wherever you start a Jupyter client."
        )
    if place and not config.is_secure:
        advice.append(
            f"{config.url} is not https: others on the network can read your token and your work."
        )
    if config.token_file and not is_private(config.token_file):
        advice.append(
            f"Other users of this machine can read the token: chmod 600 {config.token_file}"
        )
    if not config.verify:
        advice.append("The certificate of the gateway is not checked (--no-verify).")
    return advice


def _list(options: argparse.Namespace) -> int:
    specs = files.installed()
    if options.json:
        rows = [
            {
                "name": spec.name,
                "gateway": spec.origin.gateway,
                "url": spec.origin.url,
                "kernel": spec.origin.kernel,
                "folder": str(spec.folder),
            }
            for spec in specs
        ]
        _say(json.dumps(rows, indent=2))
        return 0
    if not specs:
        _say("No kernelspecs of gateways are installed; see `jupyter gateway-spec install --help`.")
        return 0
    table = [("NAME", "KERNEL", "GATEWAY", "FOLDER")]
    table += [
        (spec.name, in_one_line(spec.origin.kernel), in_one_line(spec.origin.url), str(spec.folder))
        for spec in specs
    ]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        _say("  ".join(map(str.ljust, row, widths)).rstrip())
    return 0


def _remove(options: argparse.Namespace) -> int:
    if sum((bool(options.names), bool(options.url), options.all)) != 1:
        raise ConfigurationError("Name the kernelspecs to remove, or use --url URL or --all.")
    specs = files.installed()
    known = {spec.name.lower() for spec in specs}
    if unknown := [name for name in options.names if name.lower() not in known]:
        raise ConfigurationError(
            f"{unknown[0]!r} is not a kernelspec of a gateway; `jupyter gateway-spec list` lists those."
        )
    names = {name.lower() for name in options.names}
    url = options.url.rstrip("/")
    chosen = [
        spec
        for spec in specs
        if options.all or spec.name.lower() in names or (url and spec.origin.url == url)
    ]
    if not chosen:
        _say("Nothing to remove: no such kernelspecs are installed.")
    for spec in chosen:
        files.remove(spec)
        _say(f"Removed {spec.name} from {spec.folder}")
    return 0


def _say(line: str, stream: TextIO | None = None) -> None:
    """Write a line; a character that the terminal's encoding lacks is replaced."""
    stream = stream or sys.stdout
    encoding = stream.encoding or "utf-8"
    stream.write(line.encode(encoding, "replace").decode(encoding) + "\n")


if __name__ == "__main__":
    sys.exit(main())
