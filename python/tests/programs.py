"""Programs that tests run to their end."""

import asyncio
import os


async def program(executable, *arguments, cwd=None, **environment):
    """Run it with these variables added; return its output. It ends with the caller."""
    process = await asyncio.create_subprocess_exec(
        executable,
        *arguments,
        cwd=cwd,
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, output.decode()
    return output.decode()
