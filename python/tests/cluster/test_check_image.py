"""`make check-image`: images are started as the gateway would start them, and used from this host."""

import asyncio
import re
import sys

import pytest

from ci import images
from ci.paths import ROOT
from ci.peer import images as peer_images

USES = [
    "its six ports can be reached and are within PORT_RANGE",
    "an endless loop can be interrupted",
]


async def check(*arguments):
    """The exit code, and all output."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ci.check_image", *arguments),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()


@pytest.fixture(scope="module", autouse=True)
def built():
    """The images, in the builder's storage."""
    peer_images.register()
    references = [image.reference for image in images.BYO_IMAGES]
    images.ensure([*references, peer_images.PEER_KERNEL_PY.reference])


@pytest.mark.parametrize("image", images.BYO_IMAGES, ids=lambda image: image.folder.name)
async def test_an_image_that_was_brought_along(image):
    # It has a launcher for R as well, and no R: the next test.
    options = ("--language", "python") if image is images.FROM_DOCKER_STACKS else ()
    code, output = await check(image.reference, *options)
    assert code == 0, output
    assert re.findall(r"^As (\S+),", output, re.MULTILINE) == ["1000:100", "1000970000:0"]
    unknown = re.findall(
        r"^warning .* kernel: user (\d+) has no account in this image", output, re.MULTILINE
    )
    assert ("1000" in unknown) == (image is images.PLAIN_DEBIAN)
    assert "1000970000" in unknown
    languages = output.splitlines()[-1].partition(": ")[2].rstrip(".").split(", ")
    assert languages == {
        images.BASH_KERNEL: ["bash"],
        images.TWO_LANGUAGES: ["python", "r"],
    }.get(image, ["python"])
    for language in languages:
        for use in USES:
            assert output.count(f"ok       {language} kernel: {use}\n") == 2


async def test_an_image_of_gateway_provisioners_0_5_0():
    code, output = await check(peer_images.PEER_KERNEL_PY.reference, "--user", "1000:100")
    assert code == 0, output
    assert "warning  python kernel: it reported, in version 1 of the protocol" in output
    assert "ok       python kernel: an endless loop can be interrupted\n" in output
    # Its start script prints the environment.
    assert "warning  python kernel: its log contains KERNEL_LAUNCH_KEY" in output


async def test_the_message_of_the_start_script_is_shown():
    code, output = await check(images.FROM_DOCKER_STACKS.reference, "--language", "r")
    assert code == 1
    assert "PROBLEM  r kernel: it ended with exit code 69 before it reported" in output
    assert "| bootstrap-kernel: no runtime for 'r' in this image: Rscript is not in PATH" in output
    assert output.endswith(
        f"error: 1 problem: kernels cannot run in {images.FROM_DOCKER_STACKS.reference} as it is\n"
    )


async def test_an_image_without_launchers():
    code, output = await check(images.DEBIAN.reference)
    assert code == 1
    assert "warning  user: the image runs as root" in output
    assert "error: no launcher is below /usr/local/bin/kernel-launchers in elyra/debian" in output


async def test_an_image_that_is_not_here():
    code, output = await check("acme/nowhere:1")
    assert code == 1
    assert "has no image acme/nowhere:1: build it, or pull it, and try again" in output
