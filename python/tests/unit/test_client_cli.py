"""`jupyter gateway-spec`: the kernelspecs that it makes, their names, logos and files; hostile gateways."""

import json
import stat
import struct
import sys

import pytest
from gateway_provisioners_client.cli import contents, files, main, pictures
from gateway_provisioners_client.cli.contents import Environment, Origin
from gateway_provisioners_client.errors import ConfigurationError
from gateway_provisioners_client.gateway.config import GatewayConfig
from gateway_provisioners_client.gateway.specs import MOST_SPECS, RemoteKernelSpec, specs_of
from jupyter_client.kernelspec import KernelSpecManager

CONFIG = GatewayConfig("https://gateway.example.com", name="Team A")
SVG = b'<svg xmlns="http://www.w3.org/2000/svg">%b</svg>'
HOSTILE = "\x1b[31mred\x1b[0m \x1b]0;title\x07\u202eevil\r\nnext <b>&\x00"


def answer(**specs):
    return {"default": "custom", "kernelspecs": {name: entry(spec) for name, spec in specs.items()}}


def entry(spec, **resources):
    return {"spec": spec, "resources": resources}


@pytest.fixture
def jupyter(tmp_path, monkeypatch):
    """Use folders of this test's own; return the user's folder for kernelspecs."""
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("JUPYTER_PATH", "")
    monkeypatch.setattr("jupyter_core.paths.SYSTEM_JUPYTER_PATH", [])
    return tmp_path / "data" / "kernels"


def put(folder, name="custom", *, url=CONFIG.url, kernel="custom"):
    config = GatewayConfig(url, name="Team A")
    spec = contents.kernel_json(RemoteKernelSpec(kernel, "Custom"), config, Environment())
    files.write(folder / name, spec, {}, private=True)


def test_the_kernelspec_of_a_kernel():
    remote = RemoteKernelSpec(
        "custom", "Custom 2", "python", {"debugger": True, "kernel_provisioner": {}}
    )
    environment = Environment({"KERNEL_MEMORY": "2Gi", "PRICE": "$5 ${HOME}"}, ("AWS_TOKEN",))
    assert contents.kernel_json(remote, CONFIG, environment) == {
        "argv": [
            sys.executable,
            "-m",
            "gateway_provisioners_client.kernel",
            "{connection_file}",
            "--kernel=custom",
            "--url=https://gateway.example.com",
            "--name=Team A",
            "--pass-env=PRICE",
            "--pass-env=AWS_TOKEN",
        ],
        "display_name": "Custom 2 (Team A)",
        "language": "python",
        "interrupt_mode": "message",
        "env": {"KERNEL_MEMORY": "2Gi", "PRICE": "$$5 $${HOME}"},
        "metadata": {
            "debugger": True,
            "gateway_provisioners_client": {
                "gateway": "Team A",
                "url": "https://gateway.example.com",
                "kernel": "custom",
                "version": "1.0.0",
            },
        },
    }


@pytest.mark.parametrize(
    ("taken", "name"),
    [
        (set(), "custom"),
        ({"custom"}, "team-a-custom"),
        ({"custom", "team-a-custom"}, "team-a-custom-2"),
        ({"custom", "team-a-custom", "team-a-custom-2"}, "team-a-custom-3"),
    ],
)
def test_a_name_that_is_not_taken(taken, name):
    assert contents.choose_name("Custom", CONFIG, taken.__contains__) == name


@pytest.mark.parametrize("gateway", ["../../etc", "\u4e2d\u6587", "A" * 5000, "."])
def test_a_name_is_one_that_jupyter_takes(gateway, jupyter):
    config = GatewayConfig("https://gateway.example.com", name=gateway)
    name = contents.choose_name("k" * 128, config, ("k" * 128).__eq__)
    put(jupyter, name)
    assert name in KernelSpecManager().find_kernel_specs()


def test_variables_with_and_without_values():
    environment = contents.environment_of(
        ["A=1", "B", "B", "C=x=y", "D=", "A"], {"KERNEL_MEMORY": "2Gi"}
    )
    assert environment == Environment(
        {"KERNEL_MEMORY": "2Gi", "A": "1", "C": "x=y", "D": ""}, ("B",)
    )


@pytest.mark.attack(21)
@pytest.mark.parametrize(
    "assignment", ["=secret", "my name=secret", "1A=secret", "A=secret\0", "-x=secret"]
)
def test_wrong_variables_are_not_repeated(assignment):
    with pytest.raises(ConfigurationError) as caught:
        contents.environment_of([assignment], {})
    assert "secret" not in str(caught.value)


@pytest.mark.attack(22)
def test_hostile_text_of_a_gateway_is_one_visible_line():
    spec = {
        "display_name": HOSTILE * 100,
        "language": HOSTILE,
        "interrupt_mode": "no",
        "metadata": "x",
    }
    remote = specs_of(answer(custom=spec)).specs["custom"]
    assert remote.display_name.startswith("red evil next <b>&red evil")
    assert len(remote.display_name) <= 100
    assert remote.language == "red evil next <b>&"
    assert (remote.interrupt_mode, remote.metadata) == ("signal", {})


@pytest.mark.attack(22)
@pytest.mark.parametrize(
    "name",
    [
        "",
        "..",
        "../evil",
        "/etc",
        "a/b",
        "a\\b",
        ".hidden",
        "-x",
        "{connection_file}",
        "a b",
        "a\n",
        "k" * 129,
        "\u00e9",
    ],
)
def test_hostile_names_of_kernels_are_left_out(name):
    specs = specs_of(answer(**{name: {"display_name": "x"}, "custom": {}}))
    assert set(specs.specs) == {"custom"}
    assert specs.left_out == 1


@pytest.mark.attack(22)
@pytest.mark.parametrize(
    "answered",
    [None, [], "", {}, {"kernelspecs": []}, {"kernelspecs": None}, {"error": "x"}],
)
def test_what_is_not_a_list_of_kernels(answered):
    assert specs_of(answered) is None


@pytest.mark.attack(22)
def test_too_many_kernels_and_too_much_metadata():
    many = {f"k{number}": {"metadata": {"a": "x" * 20_000}} for number in range(MOST_SPECS + 10)}
    specs = specs_of(answer(**many))
    assert (len(specs.specs), specs.left_out, specs.default) == (MOST_SPECS, 10, "")
    assert specs.specs["k0"].metadata == {}


@pytest.mark.attack(22)
def test_logos_of_other_places_are_not_asked_for():
    logos = {
        "logo-64x64": "/kernelspecs/custom/logo-64x64.png",
        "logo-svg": "//evil.example.com/logo.svg",
        "logo-32x32": "https://evil.example.com/logo.png",
        "logo-16x16": "file:///etc/passwd",
        "kernel.js": "/kernelspecs/custom/kernel.js",
        "logo-../../x": "/x",
        "logo-8x8": 5,
    }
    found = {"kernelspecs": {"custom": entry({}, **logos)}}
    assert specs_of(found).specs["custom"].logos == {
        "logo-64x64": "/kernelspecs/custom/logo-64x64.png"
    }


def png(width=64, height=64):
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", width, height) + b"rest"


@pytest.mark.parametrize(
    ("content", "suffix"),
    [
        (png(), ".png"),
        (SVG % b'<path d="M0 0"/><use href="#a"/>', ".svg"),
        (SVG % b'<image href="data:image/png;base64,AAAA"/>', ".svg"),
    ],
)
def test_pictures(content, suffix):
    assert pictures.suffix_of(content) == suffix


@pytest.mark.attack(22)
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html><script>alert(1)</script></html>",
        b"\x89PNG\r\n\x1a\n",
        png(width=100_000),
        png(height=0),
        SVG % b"<script>alert(1)</script>",
        SVG % b'<g onload="alert(1)"/>',
        SVG % b'<a href=" java\nscript:alert(1)"/>',
        SVG % b'<use href="data:image/svg+xml;base64,AAAA"/>',
        SVG % b'<image href="https://evil.example.com/beacon"/>',
        SVG % b'<set attributeName="href" to="javascript:alert(1)"/>',
        SVG % b'<foreignObject><b xmlns="http://www.w3.org/1999/xhtml"/></foreignObject>',
        b'<?xml-stylesheet href="x.xsl"?>' + SVG % b"",
        b'<!DOCTYPE svg [<!ENTITY a "aaaa">]>' + SVG % b"&a;",
        b'<svg xmlns="http://evil.example.com/"/>',
        SVG % (b"<g>" * 100_000),
    ],
)
def test_logos_that_are_more_than_pictures(content):
    with pytest.raises(pictures.NotAPicture):
        pictures.suffix_of(content)


@pytest.mark.attack(21)
def test_a_users_kernelspec_is_readable_by_the_user_only(jupyter):
    """Values of --env are in it."""
    put(jupyter)
    modes = {
        path.name: stat.S_IMODE(path.stat().st_mode) for path in (jupyter / "custom").iterdir()
    }
    assert modes == {"kernel.json": 0o600}
    assert stat.S_IMODE((jupyter / "custom").stat().st_mode) == 0o700


def test_a_kernelspec_is_replaced_with_all_its_files(jupyter):
    spec = contents.kernel_json(RemoteKernelSpec("custom", "Custom"), CONFIG, Environment())
    files.write(jupyter / "custom", spec, {"logo-svg.svg": b"old"}, private=False)
    files.write(jupyter / "custom", spec, {"logo-64x64.png": b"new"}, private=False)
    assert {path.name for path in (jupyter / "custom").iterdir()} == {
        "kernel.json",
        "logo-64x64.png",
    }
    assert [path.name for path in jupyter.iterdir()] == ["custom"]


def test_what_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="is not a folder that you may write to"):
        files.check_writable(tmp_path / "file" / "kernels")
    with pytest.raises(ConfigurationError, match="Cannot write"):
        files.write(tmp_path / "file" / "custom", {}, {}, private=True)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"metadata": null}',
        b'{"metadata": {"gateway_provisioners_client": []}}',
        b'{"metadata": {"gateway_provisioners_client": {"gateway": 1, "url": 2, "kernel": 3}}}',
    ],
)
def test_kernelspecs_that_are_not_ours(content):
    assert contents.origin_of(content) is None


def test_a_list_of_kernelspecs(jupyter, capsys):
    assert main.main(["list"]) == 0
    assert "No kernelspecs of gateways are installed" in capsys.readouterr().out
    put(jupyter)
    put(jupyter, "other", url="https://other.example.com", kernel="k8s_python")
    assert main.main(["list"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        ["NAME", "KERNEL", "GATEWAY", "FOLDER"],
        ["custom", "custom", "https://gateway.example.com", str(jupyter / "custom")],
        ["other", "k8s_python", "https://other.example.com", str(jupyter / "other")],
    ]
    assert main.main(["list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0] == {
        "name": "custom",
        "gateway": "Team A",
        "url": "https://gateway.example.com",
        "kernel": "custom",
        "folder": str(jupyter / "custom"),
    }


@pytest.mark.parametrize(
    ("arguments", "left"),
    [
        (["custom"], ["foreign", "other"]),
        (["--url", "https://other.example.com/"], ["custom", "foreign"]),
        (["--all"], ["foreign"]),
        (["--url", "https://third.example.com"], ["custom", "foreign", "other"]),
    ],
)
def test_kernelspecs_are_removed(jupyter, arguments, left, capsys):
    put(jupyter)
    put(jupyter, "other", url="https://other.example.com")
    (jupyter / "foreign").mkdir()
    (jupyter / "foreign" / "kernel.json").write_text("{}")
    assert main.main(["remove", *arguments]) == 0
    assert sorted(path.name for path in jupyter.iterdir()) == left
    assert capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["foreign"], "'foreign' is not a kernelspec of a gateway"),
        (["custom", "nothing"], "'nothing' is not a kernelspec of a gateway"),
        ([], "Name the kernelspecs to remove"),
        (["custom", "--all"], "Name the kernelspecs to remove"),
    ],
)
def test_what_is_not_removed(jupyter, arguments, words, capsys):
    put(jupyter)
    (jupyter / "foreign").mkdir()
    (jupyter / "foreign" / "kernel.json").write_text("{}")
    assert main.main(["remove", *arguments]) == main.BAD_USAGE
    assert words in capsys.readouterr().err
    assert sorted(path.name for path in jupyter.iterdir()) == ["custom", "foreign"]


def test_a_kernelspec_that_is_a_link_is_removed_without_its_target(jupyter, tmp_path):
    put(tmp_path / "elsewhere")
    jupyter.mkdir(parents=True)
    (jupyter / "custom").symlink_to(tmp_path / "elsewhere" / "custom")
    assert main.main(["remove", "custom"]) == 0
    assert not list(jupyter.iterdir())
    assert (tmp_path / "elsewhere" / "custom" / "kernel.json").exists()


def test_the_origin_of_a_kernelspec(jupyter):
    put(jupyter)
    [spec] = files.installed()
    assert spec.origin == Origin("Team A", "https://gateway.example.com", "custom")


def test_help_names_every_command_and_option(capsys):
    with pytest.raises(SystemExit):
        main.main(["install", "--help"])
    shown = capsys.readouterr().out
    for option in (
        "--url",
        "--kernel",
        "--env",
        "--memory",
        "--token-file",
        "--ca-file",
        "--prefix",
        "--replace",
    ):
        assert option in shown
