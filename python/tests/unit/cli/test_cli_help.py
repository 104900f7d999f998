"""--help: every option is in it, with words and its default."""

import re

import pytest

from gateway_provisioners.cli import image_bootstrap, k8s_spec

COMMON = ["debug", "log-level", "config"]
OPTIONS = {
    image_bootstrap.ImageBootstrap: ["languages", "launchers-only", "target", "dry-run", *COMMON],
    k8s_spec.K8sSpec: [
        *("kernel-name", "display-name", "language", "image-name", "executor-image-name"),
        *("authorized-users", "unauthorized-users", "port-range", "launch-timeout"),
        *("ipykernel-subclass-name", "spark-init-mode"),
        *("user", "sys-prefix", "prefix", "replace", *COMMON),
    ],
}


@pytest.mark.parametrize("program", OPTIONS)
@pytest.mark.parametrize("how", ["--help", "--help-all"])
def test_help_of_install_lists_every_option_and_no_other(program, how, capsys):
    with pytest.raises(SystemExit) as stop:
        program.main(["install", how])
    program.subcommands["install"][0].clear_instance()
    out, err = capsys.readouterr()
    assert (stop.value.code, err) == (0, "")
    listed = re.findall(r"^--([a-z][a-z-]*)(?:=|$)", out, flags=re.MULTILINE)
    assert sorted(listed) == sorted(OPTIONS[program])


@pytest.mark.parametrize("program", OPTIONS)
def test_help_of_the_program_names_its_subcommand(program, capsys):
    with pytest.raises(SystemExit) as stop:
        program.main(["--help"])
    out, err = capsys.readouterr()
    assert (stop.value.code, err) == (0, "")
    assert "install" in out


@pytest.mark.parametrize("program", OPTIONS)
def test_version(program, capsys):
    with pytest.raises(SystemExit) as stop:
        program.main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"{program.version}\n"
