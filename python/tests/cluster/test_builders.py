"""The programs that build images, with containers that run at the same time."""

import asyncio
import subprocess

from ci import images
from ci.builders import find_builder
from timeouts import within_timeout

TAG = "acme/replaced:1.0"
OTHER = "acme/other:1.0"


async def test_old_images_go_while_a_container_runs_on_a_replaced_one(cluster, tmp_path):
    builder = find_builder()
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY content /\n")

    def build(tag, content):
        (tmp_path / "content").write_text(content)
        builder.build(tmp_path, tag, content, {}, {})

    try:
        build(TAG, "old")
        with builder.container(TAG, "1000", {}):
            build(TAG, "new")
            build(OTHER, "other")
            builder.remove(OTHER)
        assert builder.image_id(OTHER) is None
    finally:
        builder.remove(OTHER)
        builder.remove(TAG)


async def test_a_container_ends_with_the_process_that_started_it(cluster, tmp_path):
    builder = find_builder()
    command = 'ENTRYPOINT []\nCMD ["sh", "-c", "echo up; exec sleep infinity"]\n'
    (tmp_path / "Dockerfile").write_text(f"FROM {images.KERNEL_PY.reference}\n{command}")
    try:
        builder.build(tmp_path, TAG, "", {}, {})
        with builder.container(TAG, "1000:100", {}) as (command, environment):
            process = await asyncio.create_subprocess_exec(
                *command, env=environment, stdout=subprocess.PIPE
            )
            assert await within_timeout(process.stdout.readline()) == b"up\n"
            process.kill()
            # The pipe ends when no process in the container has it any more.
            assert await within_timeout(process.stdout.read()) == b""
            await process.wait()
    finally:
        builder.remove(TAG)
