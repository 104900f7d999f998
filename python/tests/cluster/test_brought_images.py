"""Kernels of custom images, made as docs/custom-kernel-images.md says: those in examples/."""

from dataclasses import dataclass

import pytest
import pytest_asyncio

from ci import images
from ci.paths import ROOT


@dataclass(frozen=True)
class Code:
    """A language's code for the steps of the tests."""

    variable: str
    read: str
    user: str
    endless: str


PYTHON = Code(
    "x = 6 * 7",
    "print(globals().get('x', 'gone'))",
    "import os; print(f'{os.getuid()}:{os.getgid()}')",
    "print('busy', flush=True)\nwhile True: pass",
)
BASH = Code(
    "x=42", 'echo "${x:-gone}"', 'echo "$(id -u):$(id -g)"', "echo busy; while :; do :; done"
)
R = Code(
    "x <- 6 * 7",
    "cat(if (exists('x')) x else 'gone')",
    "cat(system('echo $(id -u):$(id -g)', intern = TRUE))",
    "cat('busy\\n')\nwhile (TRUE) {}",
)


def run_as(uid, gid):
    """An image whose user is not the gateway's choice: docs/custom-kernel-images.md, Base images."""
    return {"spec": {"securityContext": {"runAsUser": uid, "runAsGroup": gid, "fsGroup": gid}}}


# Each kernel's values in the chart, code that it runs with its output, and the user it runs as.
KERNELS = {
    "derived": ({"image": images.DATA_SCI_PY.reference}, PYTHON, "1000:100"),
    "docker-stacks": ({"image": images.FROM_DOCKER_STACKS.reference}, PYTHON, "1000:100"),
    "debian": ({"image": images.PLAIN_DEBIAN.reference}, PYTHON, "1000:100"),
    "debians-own-user": (
        {"image": images.PLAIN_DEBIAN.reference, "podTemplate": run_as(2000, 2000)},
        PYTHON,
        "2000:2000",
    ),
    "debian-read-only": (
        {
            "image": images.PLAIN_DEBIAN.reference,
            "podTemplate": {
                "spec": {
                    "securityContext": {"runAsUser": 1000970000, "runAsGroup": 0, "fsGroup": 0},
                    "containers": [
                        {
                            "name": "kernel",
                            "securityContext": {"readOnlyRootFilesystem": True},
                            "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
                        }
                    ],
                    "volumes": [{"name": "tmp", "emptyDir": {}}],
                }
            },
        },
        PYTHON,
        "1000970000:0",
    ),
    "openshift": (
        {"image": images.PLAIN_DEBIAN.reference, "podTemplate": run_as(1000970000, 0)},
        PYTHON,
        "1000970000:0",
    ),
    "bash": ({"image": images.BASH_KERNEL.reference, "language": "bash"}, BASH, "1000:100"),
    "both-r": ({"image": images.TWO_LANGUAGES.reference, "language": "r"}, R, "1000:100"),
    "both-python": ({"image": images.TWO_LANGUAGES.reference}, PYTHON, "1000:100"),
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def brought(cluster, chart):
    """The release, with a kernel of each image."""
    references = [image.reference for image in images.BYO_IMAGES]
    cluster.load(built.archive for built in images.ensure(references))
    await chart.upgrade({"kernels": {name: values for name, (values, *_) in KERNELS.items()}})


@pytest.mark.parametrize("name", KERNELS)
async def test_a_kernel_is_used_and_ends(brought, gateway, namespace, name):
    _, code, user = KERNELS[name]
    kernel_id = await gateway.start(name)
    async with gateway.channels(kernel_id) as kernel:
        await kernel.execute(code.variable)
        assert (await kernel.execute(code.user)).text.strip() == user
        await kernel.execute(code.endless, on_busy=lambda: gateway.interrupt(kernel_id))
        assert (await kernel.execute(code.read)).text.strip() == "42"
    await gateway.restart(kernel_id)
    async with gateway.channels(kernel_id) as kernel:
        assert (await kernel.execute(code.read)).text.strip() == "gone"
    await gateway.delete(kernel_id)
    await namespace.wait_gone(kernel_id)


WHO = """
import getpass, os, pathlib, pwd
assert pwd.getpwuid(os.getuid()).pw_dir == os.environ["HOME"]
(pathlib.Path.home() / ".cache" / "x").mkdir(parents=True)
print(os.environ["HOME"], getpass.getuser())
"""
# A package to install: kernels of this cluster cannot reach an index.
WHEEL = """
import os, zipfile
with zipfile.ZipFile("/tmp/tiny-1.0-py3-none-any.whl", "w") as wheel:
    wheel.writestr("tiny.py", "")
    about = {"METADATA": "Metadata-Version: 2.1\\nName: tiny\\nVersion: 1.0\\n",
             "WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n", "RECORD": ""}
    for name, text in about.items():
        wheel.writestr(f"tiny-1.0.dist-info/{name}", text)
"""


@pytest.mark.parametrize(
    ("name", "who"),
    [
        ("debian", "/tmp/home-1000 user1000"),
        ("debian-read-only", "/tmp/home-1000970000 user1000970000"),
        ("openshift", "/tmp/home-1000970000 user1000970000"),
        ("debians-own-user", "/home/analyst analyst"),
    ],
)
async def test_a_user_without_an_account_has_a_name_and_a_home(brought, gateway, name, who):
    async with gateway.kernel(name) as kernel:
        assert (await kernel.execute(WHO)).text.strip() == who
        await kernel.execute(WHEEL)
        await kernel.execute("%pip install --quiet --no-index /tmp/tiny-1.0-py3-none-any.whl")
        assert (await kernel.execute("import tiny; print(tiny.__file__)")).text.startswith(
            who.split()[0]
        )


async def test_an_image_of_two_languages_runs_both_at_once(brought, gateway):
    async with gateway.kernel("both-r") as r, gateway.kernel("both-python") as python:
        assert (await r.execute("cat(R.version$language)")).text == "R"
        assert (await python.execute("print(6 * 7)")).text == "42\n"


async def test_a_launcher_of_the_images_own_passes_no_key_to_users(brought, gateway):
    async with gateway.kernel("bash") as kernel:
        assert (await kernel.execute('echo "<$KERNEL_LAUNCH_KEY>$KERNEL_ID"')).text.strip() == (
            f"<>{kernel.kernel_id}"
        )


async def test_every_example_image_is_among_them():
    folders = {path.parent for path in (ROOT / "examples").glob("*/Dockerfile")}
    registered = {image.reference: image.folder for image in images.IMAGES.values()}
    assert folders == {registered[values["image"]] for values, *_ in KERNELS.values()}
