"""Fixtures that run the command-line programs inside the test process."""

import os

import pytest


@pytest.fixture(autouse=True)
def jupyter_home(monkeypatch, tmp_path):
    """Hide the configuration and kernels of the user who runs the tests."""
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run_cli(capsys):
    """Run a program; return its exit code and what it wrote to stderr."""

    def run(program, arguments):
        code = 0
        try:
            program.main(arguments)
        except SystemExit as stop:
            code = stop.code
        finally:
            for command, _ in program.subcommands.values():
                command.clear_instance()
        return code, capsys.readouterr().err

    return run


@pytest.fixture
def restrictive_umask():
    """Set a umask that makes new files private to their owner."""
    before = os.umask(0o077)
    yield
    os.umask(before)
