"""Messages without their line breaks, which are made for dialogs and not for tests."""


def unwrapped(message: str) -> str:
    """Return a message on one line, with single spaces."""
    return " ".join(message.split())
