"""A cell that fills the memory of its kernel's container, and the warning that comes into its output."""

# Until 96 % of the limit are used, as the launcher counts it, and goes on.
TAKE_NEARLY_ALL = """
import sys

sys.path.insert(0, "/usr/local/bin/kernel-launchers/python/scripts")
from kernel_launcher.usage import read_usage

held = []
while (usage := read_usage())["memory"] < 0.96 * usage["memory_limit"]:
    held.append(b"x" * 2**20)
print("taken", flush=True)
while True:
    pass
"""


async def warning_of(channels):
    """Run the cell until it is warned; return the words of its output."""
    await channels.send("shell", "execute_request", {"code": TAKE_NEARLY_ALL, "silent": False})
    text = ""
    while "For more memory" not in text:
        message = await channels.receive()
        assert message["header"]["msg_type"] != "error", message
        if message["header"]["msg_type"] == "stream":
            assert message["parent_header"]["msg_type"] == "execute_request"
            text += message["content"]["text"]
    return " ".join(text.split())
