"""Kernelspecs as clients see them, and the files that are served: logos only."""

import json

import aiohttp
import pytest
from test_api_operations import ConfigMaps

from api.conftest import kernel_json
from api.running import TOKEN, running_gateway

SCRIPT = "<script>alert(1)</script>"
POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'"
SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64"/>'
PNG = b"\x89PNG\r\n\x1a\n..."


async def kernelspecs_of(gateway):
    return (await gateway.client.request("GET", "/api/kernelspecs"))["kernelspecs"]


async def response_to(gateway, method, path, **headers):
    url, headers = f"{gateway.url}{path}", {"Authorization": f"token {TOKEN}", **headers}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.request(method, url) as response,
    ):
        await response.read()
        return response


@pytest.fixture
def folder(jupyter_dirs, add_kernelspec):
    """The folder of a kernelspec whose author is hostile."""
    add_kernelspec("hostile")
    return jupyter_dirs / "hostile"


@pytest.fixture
def configmap(gateway):
    """Return a function that sets the kernelspecs of the ConfigMap by their `language` and `logo`."""
    source = ConfigMaps()
    gateway.app.kernel_spec_manager.follow(source)

    def change(**kernels):
        specs = {}
        for name, (language, logo) in kernels.items():
            model = kernel_json(language=language)
            model.setdefault("metadata", {}).update({"logo": logo} if logo else {})
            specs[f"{name}.json"] = json.dumps(model)
        source.change(**specs)

    return change


@pytest.mark.parametrize(
    "name",
    [
        *("kernel.json", "page.html", "logo-page.html", "logo-x.svg.html", "kernel.js"),
        *("kernel.css", "logo-", ""),
    ],
)
async def test_files_that_are_no_logos_are_not_served(gateway, folder, name):
    if name not in ("", "kernel.json"):
        (folder / name).write_text(SCRIPT)
    assert (await kernelspecs_of(gateway))["hostile"]["resources"] == {}
    for method in ("GET", "HEAD"):
        response = await response_to(gateway, method, f"/kernelspecs/hostile/{name}")
        assert response.status == 404
        assert "script" not in await response.text()


async def test_a_link_out_of_the_folder_is_no_logo(gateway, folder, tmp_path):
    (tmp_path / "token").write_text("secret")
    (folder / "logo-svg.svg").symlink_to(tmp_path / "token")
    (folder / "logo-64x64.png").mkdir()
    assert (await kernelspecs_of(gateway))["hostile"]["resources"] == {}
    assert (await response_to(gateway, "GET", "/kernelspecs/hostile/logo-svg.svg")).status == 404


@pytest.mark.parametrize(
    ("name", "kind", "content"),
    [("logo-64x64.png", "image/png", PNG), ("logo-svg.svg", "image/svg+xml", SVG.encode())],
)
async def test_logos_are_served_as_images_that_run_no_scripts(gateway, folder, name, kind, content):
    (folder / name).write_bytes(SCRIPT.encode())
    assert (await kernelspecs_of(gateway))["hostile"]["resources"] == {}
    assert (await response_to(gateway, "GET", f"/kernelspecs/hostile/{name}")).status == 404
    (folder / name).write_bytes(content)
    resources = (await kernelspecs_of(gateway))["hostile"]["resources"]
    for method in ("GET", "HEAD"):
        response = await response_to(gateway, method, resources[name.rpartition(".")[0]])
        assert (response.status, response.content_type) == (200, kind)
        assert response.headers["Content-Length"] == str(len(content))
        assert response.headers["Content-Security-Policy"] == POLICY
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        etag = response.headers["Etag"]
    assert (
        await response_to(gateway, "GET", str(response.url.path), **{"If-None-Match": etag})
    ).status == 304


async def test_a_broken_kernelspec_hides_no_other(gateway, jupyter_dirs, add_kernelspec):
    add_kernelspec("broken")
    (jupyter_dirs / "broken" / "kernel.json").write_text("[")
    specs = await kernelspecs_of(gateway)
    assert "local" in specs
    assert "broken" not in specs


@pytest.mark.parametrize("path", ["kernel.json", "..%2f..%2fetc%2fpasswd", "pyproject.toml"])
async def test_a_kernelspec_of_the_configmap_has_no_files(gateway, configmap, path):
    configmap(from_map=("python", None))
    response = await response_to(gateway, "GET", f"/kernelspecs/from_map/{path}")
    assert response.status in (403, 404)


async def test_a_kernelspec_of_the_configmap_has_the_logo_of_its_language(gateway, configmap):
    configmap(
        a=("python", None),
        b=("R", None),
        c=("scala", None),
        d=("bash", None),
        e=("bash", "r"),
        f=("python", "logos/missing.svg"),
    )
    specs = await kernelspecs_of(gateway)
    assert [name for name in "abcdef" if not specs[name]["resources"]] == ["d", "f"]
    served = {}
    for name in "abce":
        response = await response_to(gateway, "GET", specs[name]["resources"]["logo-svg"])
        assert (response.status, response.content_type) == (200, "image/svg+xml")
        assert response.headers["Content-Security-Policy"] == POLICY
        served[name] = await response.text()
    assert served["b"] == served["e"]
    assert len(set(served.values())) == 3
    assert (await response_to(gateway, "GET", "/kernelspecs/d/logo-svg.svg")).status == 404
    assert (await response_to(gateway, "GET", "/kernelspecs/x/logo-svg.svg")).status == 404


async def test_a_logo_of_a_configmap_can_change(tmp_path, jupyter_dirs):
    (tmp_path / "logos").mkdir()
    picture = tmp_path / "logos" / "spark.svg"
    spec = kernel_json()
    spec.setdefault("metadata", {})["logo"] = "logos/spark.svg"
    jupyter_dirs.joinpath("local", "kernel.json").unlink()
    async with running_gateway() as gateway:
        manager = gateway.app.kernel_spec_manager
        manager.logos = type(manager.logos)(str(tmp_path))
        manager.follow(ConfigMaps(**{"local.json": json.dumps(spec)}))
        assert (await kernelspecs_of(gateway))["local"]["resources"] == {}
        for size in ("64", "32"):
            picture.write_text(SVG.replace("64", size))
            [logo] = (await kernelspecs_of(gateway))["local"]["resources"].values()
            assert await (await response_to(gateway, "GET", logo)).text() == picture.read_text()
