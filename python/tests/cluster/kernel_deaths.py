"""Code that ends its kernel."""


async def execute_to_death(kernel, code):
    """Run code that ends the kernel; return when the kernel is idle again after its restart."""
    request = {
        "code": code,
        "silent": False,
        "store_history": False,
        "allow_stdin": False,
        "user_expressions": {},  # Toree ignores a request without
    }
    await kernel.send("shell", "execute_request", request)
    states = []
    while not {"restarting", "idle"} <= set(states):
        message = await kernel.receive()
        if message["header"]["msg_type"] == "status":
            state = message["content"]["execution_state"]
            states = [*states, state] if "restarting" in states else [state]


async def error_at_death(kernel, code, *, when_running=None):
    """Run code until the kernel restarts; return the error that its cell has got by then.

    Args:
        when_running: awaited once the code has printed something.
    """
    content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}}
    request = await kernel.send("shell", "execute_request", content)
    of_cell = {}
    while True:
        message = await kernel.receive()
        if message["content"].get("execution_state") == "restarting":
            assert of_cell["execute_reply"]["evalue"] == of_cell["error"]["evalue"]
            assert of_cell["status"] == {"execution_state": "idle"}
            return of_cell["error"]
        if message["parent_header"].get("msg_id") == request:
            of_cell[message["msg_type"]] = message["content"]
            if message["msg_type"] == "stream" and when_running is not None:
                await when_running()
                when_running = None
