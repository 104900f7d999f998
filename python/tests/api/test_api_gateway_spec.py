"""`jupyter gateway-spec` as its users run it, against a real gateway."""

import asyncio
import contextlib
import io
import json
import os
import stat
import sys
from pathlib import Path

import pytest
from gateway_provisioners_client.cli import main
from jupyter_client.manager import start_new_async_kernel

from api.certificates import write_certificate
from api.running import TOKEN, running_gateway
from timeouts import within_timeout

LOCAL = ("--kernel", "local")
JUPYTER = Path(sys.executable).with_name("jupyter")


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    """Have the gateway's kernelspecs elsewhere than the client's."""
    monkeypatch.setenv("JUPYTER_GATEWAY_AUTH_TOKEN", TOKEN)


@pytest.fixture
def separate(tmp_path, monkeypatch):
    """Return a function that gives the user other folders than gateways; it returns that of kernelspecs."""

    def move(*gateways):
        for running in gateways:
            assert running.app.kernel_spec_manager.kernel_dirs  # known to it from now on
        data = tmp_path / "client"
        data.mkdir()
        monkeypatch.setenv("JUPYTER_DATA_DIR", str(data))
        return data / "kernels"

    return move


@pytest.fixture
def kernels(gateway, separate):
    """Give the user other folders than the gateway; return that of kernelspecs."""
    return separate(gateway)


def _run(arguments):
    with (
        contextlib.redirect_stdout(io.StringIO()) as out,
        contextlib.redirect_stderr(io.StringIO()) as err,
    ):
        try:
            code = main.main(arguments)
        except SystemExit as stop:
            code = stop.code
    return code, out.getvalue(), err.getvalue()


async def run(*arguments):
    """Run the program in a thread, which takes less time: the gateway runs in this process."""
    return await within_timeout(asyncio.to_thread(_run, arguments))


async def program(*arguments, **variables):
    """Run a program of Jupyter as a user does."""
    process = await asyncio.create_subprocess_exec(
        JUPYTER,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **variables},
    )
    out, err = await within_timeout(process.communicate())
    return process.returncode, out.decode(), err.decode()


async def test_all_kernels_are_installed_listed_and_removed(gateway, add_kernelspec, kernels):
    add_kernelspec(
        "custom", display_name="Data Science", metadata={"debugger": True, "logo": "python"}
    )
    code, out, err = await program(
        "gateway-spec", "install", "--url", gateway.url, "--name", "Team A"
    )
    assert code == 0, err
    assert {line.split()[1] for line in out.splitlines()} >= {"custom", "local"}
    assert "Kernels read the token in the variable JUPYTER_GATEWAY_AUTH_TOKEN" in err
    spec = json.loads((kernels / "custom" / "kernel.json").read_text())
    assert spec["display_name"] == "Data Science (Team A)"
    assert spec["metadata"]["debugger"] is True
    assert spec["argv"][1:] == [
        "-m",
        "gateway_provisioners_client.kernel",
        "{connection_file}",
        "--kernel=custom",
        f"--url={gateway.url}",
        "--name=Team A",
    ]
    # ipykernel's own, whose name is taken by the kernel of this environment.
    assert {path.name for path in (kernels / "team-a-python3").iterdir()} == {
        *("kernel.json", "logo-32x32.png", "logo-64x64.png", "logo-svg.svg")
    }
    code, out, _ = await program("gateway-spec", "list")
    assert code == 0
    rows = [line.split()[:3] for line in out.splitlines()]
    assert rows[0] == ["NAME", "KERNEL", "GATEWAY"]
    assert ["custom", "custom", gateway.url] in rows
    code, out, _ = await program("kernelspec", "list", "--json")
    assert json.loads(out)["kernelspecs"]["local"]["spec"]["interrupt_mode"] == "message"
    assert (await run("remove", "--url", gateway.url))[0] == 0
    assert list(kernels.iterdir()) == []


async def test_an_installed_kernel_runs_in_an_ordinary_client(separate, monkeypatch):
    """With the variables that the kernelspec holds, and those of the client's environment."""
    monkeypatch.setenv("DATA_TOKEN", "of-the-client")
    async with running_gateway(client_envs=["DATA_SET", "DATA_TOKEN"]) as running:
        separate(running)
        await run(
            *("install", "--url", running.url, *LOCAL, "--env", "DATA_SET=${HOME} $1"),
            *("--env", "DATA_TOKEN", "--memory", "1Gi"),
        )
        manager, client = await within_timeout(start_new_async_kernel(kernel_name="local"))
        try:
            texts = []
            names = "DATA_SET", "DATA_TOKEN", "KERNEL_MEMORY"
            code = f"import os; print([os.environ[name] for name in {names}])"
            reply = await within_timeout(
                client.execute_interactive(
                    code, output_hook=lambda message: texts.append(message["content"].get("text"))
                )
            )
        finally:
            client.stop_channels()
            await within_timeout(manager.shutdown_kernel())
        assert reply["content"]["status"] == "ok"
        assert "['${HOME} $1', 'of-the-client', '1Gi']\n" in texts
        assert await running.client.kernels() == {}


async def test_installing_again_needs_replace(gateway, kernels):
    assert (await run("install", "--url", gateway.url, *LOCAL, "--memory", "1Gi"))[0] == 0
    code, out, err = await run("install", "--url", gateway.url, *LOCAL)
    assert (code, out) == (2, "")
    assert err == (
        f"jupyter gateway-spec: The kernel 'local' of {gateway.url.partition('//')[2]} is installed "
        "already, as 'local'. Use --replace to install it again.\n"
    )
    code, _, err = await run(
        *(
            "install",
            "--url",
            gateway.url,
            "--replace",
            "--cpus",
            "2",
            "--env",
            "A=b c",
            "--env",
            "D",
        )
    )
    assert code == 0, err
    spec = json.loads((kernels / "local" / "kernel.json").read_text())
    assert spec["env"] == {"KERNEL_CPUS": "2", "A": "b c"}
    assert spec["argv"][-2:] == ["--pass-env=A", "--pass-env=D"]


async def test_several_gateways_at_once(gateway, separate):
    async with running_gateway() as other:
        kernels = separate(gateway, other)
        assert (await run("install", "--url", gateway.url, *LOCAL))[0] == 0
        code, _, err = await run("install", "--url", other.url, *LOCAL, "--name", "Other")
        assert code == 0, err
        assert sorted(path.name for path in kernels.iterdir()) == ["local", "other-local"]
        code, _, err = await run(
            "install", "--url", other.url, *LOCAL, "--name", "Other", "--replace"
        )
        assert code == 0, err
        assert sorted(path.name for path in kernels.iterdir()) == ["local", "other-local"]
        assert (await run("remove", "other-local"))[0] == 0
        assert [path.name for path in kernels.iterdir()] == ["local"]


async def test_a_local_kernel_keeps_its_name(gateway, kernels):
    (kernels / "local").mkdir(parents=True)
    (kernels / "local" / "kernel.json").write_text('{"argv": ["true"], "display_name": "Mine"}')
    assert (await run("install", "--url", gateway.url, *LOCAL, "--name", "GW", "--replace"))[0] == 0
    assert sorted(path.name for path in kernels.iterdir()) == ["gw-local", "local"]
    assert "Mine" in (kernels / "local" / "kernel.json").read_text()


async def test_a_prefix_is_readable_by_all_its_users(gateway, kernels, tmp_path):
    prefix = tmp_path / "prefix"
    code, _, err = await run("install", "--url", gateway.url, *LOCAL, "--prefix", str(prefix))
    assert code == 0, err
    file = prefix / "share/jupyter/kernels/local/kernel.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert not kernels.exists()


async def test_a_kernel_that_the_gateway_does_not_offer(gateway, kernels):
    code, out, err = await run("install", "--url", gateway.url, "--kernel", "local", "custom")
    assert (code, out) == (2, "")
    assert "offers no kernel 'custom'; use one of: local" in err
    assert not kernels.exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--url", "gateway.example.com"], 2, "must begin with http:// or https://"),
        (["--url", "http://127.0.0.1:9"], 1, "Nothing answers at 127.0.0.1:9"),
        (["--url", "URL/somewhere"], 1, "answered 404 Not Found to GET /somewhere/api/kernelspecs"),
        (["--url", "URL", "--token-variable", "UNSET"], 1, "The variable UNSET"),
        (["--url", "URL", "--token-file", "/no/such/file"], 1, "cannot be read: No such file"),
        (
            ["--url", "URL", "--token-command", "echo wrong"],
            1,
            "does not accept the token in the command echo",
        ),
        (["--url", "URL", "--token-command", "false"], 1, "failed with exit code 1"),
        (["--url", "URL", "--prefix", "/proc/1"], 2, "Cannot write /proc/1"),
        ([], 2, "the following arguments are required: --url"),
    ],
)
async def test_errors_are_one_sentence_without_a_traceback(
    gateway, kernels, arguments, code, words
):
    arguments = [argument.replace("URL", gateway.url) for argument in arguments]
    found = await run("install", *arguments)
    assert (found[0], found[1]) == (code, "")
    assert words in found[2]
    assert "Traceback" not in found[2]


@pytest.mark.attack(21)
async def test_no_token_in_argv_files_and_output(gateway, kernels, tmp_path, monkeypatch):
    """Neither the token of a file, nor that of a command or a variable."""
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "token").chmod(0o644)
    places = (
        ("--token-file", str(tmp_path / "token")),
        ("--token-command", f"cat {tmp_path / 'token'}"),
        ("--token-variable", "TEAM_TOKEN"),
    )
    monkeypatch.setenv("JUPYTER_GATEWAY_AUTH_TOKEN", "")
    monkeypatch.setenv("TEAM_TOKEN", TOKEN)
    for place in places:
        code, out, err = await run("install", "--url", gateway.url, *LOCAL, "--replace", *place)
        assert code == 0, err
        assert TOKEN not in out + err
        for path in (kernels / "local").iterdir():
            assert TOKEN.encode() not in path.read_bytes()
        assert ("chmod 600" in err) == (place[0] == "--token-file")


@pytest.mark.attack(21)
async def test_other_users_of_the_machine_cannot_read_a_kernelspec(gateway, kernels):
    await run("install", "--url", gateway.url, *LOCAL, "--env", "DATA_PASSWORD=x")
    modes = [path.stat().st_mode for path in kernels.rglob("*") if path.is_file()]
    assert [stat.S_IMODE(mode) for mode in modes] == [0o600] * len(modes)


async def test_a_gateway_with_a_certificate_of_an_own_authority(tmp_path, separate):
    write_certificate(tmp_path, "localhost")
    traits = {"certfile": str(tmp_path / "tls.crt"), "keyfile": str(tmp_path / "tls.key")}
    async with running_gateway(**traits) as running:
        separate(running)
        url = running.url.replace("http://127.0.0.1", "https://localhost")
        code, _, err = await run("install", "--url", url, *LOCAL)
        assert code == 1
        assert "The certificate of localhost" in err
        assert "--ca-file" in err
        code, _, err = await run(
            "install", "--url", url, *LOCAL, "--ca-file", str(tmp_path / "tls.crt")
        )
        assert code == 0, err
        code, _, err = await run("install", "--url", url, *LOCAL, "--no-verify", "--replace")
        assert code == 0, err
        assert "The certificate of the gateway is not checked" in err
    code, _, err = await run(
        "install", "--url", url, *LOCAL, "--ca-file", str(tmp_path / "missing")
    )
    assert code == 2
    assert "missing cannot be used: No such file" in err
