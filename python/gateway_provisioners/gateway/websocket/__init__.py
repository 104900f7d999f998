"""A client's websocket and its way to the kernel: channels, mailbox, offline buffer."""
