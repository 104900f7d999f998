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
