"""--help: lists every option."""

import re

import pytest

from gateway_provisioners.cli.image.bootstrap import ImageBootstrap
from gateway_provisioners.cli.specs.docker import DockerSpec
from gateway_provisioners.cli.specs.kubernetes import K8sSpec

SPEC = [
    *("kernel-name", "display-name", "language", "image-name", "ipykernel-subclass-name"),
    *("authorized-users", "unauthorized-users", "port-range", "launch-timeout"),
    *("user", "sys-prefix", "prefix", "replace"),
]
COMMON = ["debug", "log-level", "config"]
OPTIONS = {
    (ImageBootstrap, "install"): [
        *("languages", "launchers-only", "bootstrap-only", "require-runtime"),
        *("target", "dry-run", *COMMON),
    ],
    (ImageBootstrap, "check"): [
        *("languages", "no-start", "target", "timeout", *COMMON),
    ],
    (K8sSpec, "install"): [*SPEC, "executor-image-name", "spark-init-mode", *COMMON],
    (DockerSpec, "install"): [*SPEC, "swarm", *COMMON],
}


PROGRAMS = list(dict.fromkeys(program for program, _ in OPTIONS))


@pytest.mark.parametrize(("program", "subcommand"), OPTIONS)
@pytest.mark.parametrize("how", ["--help", "--help-all"])
def test_help_lists_every_option_and_no_other(program, subcommand, how, capsys):
    with pytest.raises(SystemExit) as stop:
        program.main([subcommand, how])
    program.subcommands[subcommand][0].clear_instance()
    out, err = capsys.readouterr()
    assert (stop.value.code, err) == (0, "")
    listed = re.findall(r"^--([a-z][a-z-]*)(?:=|$)", out, flags=re.MULTILINE)
    assert sorted(listed) == sorted(OPTIONS[program, subcommand])


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_of_the_program_names_its_subcommands(program, capsys):
    with pytest.raises(SystemExit) as stop:
        program.main(["--help"])
    out, err = capsys.readouterr()
    assert (stop.value.code, err) == (0, "")
    assert all(subcommand in out for subcommand in program.subcommands)


@pytest.mark.parametrize("program", PROGRAMS)
def test_version(program, capsys):
    with pytest.raises(SystemExit) as stop:
        program.main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"{program.version}\n"
