"""The options of a program that name a gateway: of `jupyter gateway-spec`, and of a kernelspec's argv."""

from __future__ import annotations

import argparse

from gateway_provisioners_client.gateway import defaults


def add_options(parser: argparse.ArgumentParser, *, url_required: bool = True) -> None:
    """Add the options that name a gateway; `GatewayConfig.from_options` reads them."""
    group = parser.add_argument_group("the gateway")
    group.add_argument(
        "--url",
        required=url_required,
        metavar="URL",
        help="of the gateway, such as https://gateway.example.com; with its base path, if it has one",
    )
    group.add_argument(
        "--name",
        dest="gateway_name",
        default="",
        metavar="NAME",
        help="of the gateway, as the display names of its kernels show it; default: its host",
    )
    token = parser.add_argument_group(
        "the token: the place where it is, never the token itself",
        f"Without any of these, the environment variable {defaults.TOKEN_VARIABLE} holds it, if it is set.",
    )
    token.add_argument(
        "--token-variable", default="", metavar="NAME", help="an environment variable that holds it"
    )
    token.add_argument(
        "--token-file",
        default="",
        metavar="FILE",
        help="a file that holds it, which may change; only you should be able to read it",
    )
    token.add_argument(
        "--token-command",
        default="",
        metavar="COMMAND",
        help="a command that prints it, such as 'gcloud auth print-access-token'; it is run again when the"
        " token expires or is refused. No shell runs it",
    )
    token.add_argument(
        "--token-seconds",
        default="",
        metavar="SECONDS",
        help="for how long the output of the command is used, unless it says itself that it expires earlier;"
        f" default: {defaults.TOKEN_SECONDS:.0f}",
    )
    token.add_argument(
        "--auth-header",
        default="",
        metavar="HEADER",
        help=f"the header that the token is sent in; default: {defaults.AUTH_HEADER}",
    )
    token.add_argument(
        "--auth-scheme",
        default=None,
        metavar="WORD",
        help="the word before the token in that header, such as Bearer; may be empty; default:"
        f" {defaults.AUTH_SCHEME}",
    )
    network = parser.add_argument_group("the network")
    network.add_argument(
        "--header",
        dest="headers",
        action="append",
        default=[],
        metavar="NAME:VALUE",
        help="a further header of each request, which is not secret; may be repeated",
    )
    network.add_argument(
        "--headers-variable",
        default="",
        metavar="NAME",
        help='an environment variable that holds further headers, which may be secret: {"NAME": "VALUE"}',
    )
    network.add_argument(
        "--ca-file",
        default="",
        metavar="FILE",
        help="certificates of the authorities that sign the gateway's certificate (PEM), instead of those"
        " that this machine trusts",
    )
    network.add_argument(
        "--client-cert",
        default="",
        metavar="FILE",
        help="a certificate to show to the gateway (PEM), with its key unless --client-key names that",
    )
    network.add_argument("--client-key", default="", metavar="FILE", help="its key (PEM)")
    network.add_argument(
        "--no-verify",
        dest="verify",
        action="store_false",
        help="accept any certificate: the token and all that you run are then readable on the way",
    )
    network.add_argument(
        "--request-timeout",
        default="",
        metavar="SECONDS",
        help="for each answer of the gateway, except that of a start; default:"
        f" {defaults.REQUEST_TIMEOUT:.0f}",
    )
