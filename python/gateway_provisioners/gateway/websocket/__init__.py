"""A client's websocket and its connection to the kernel: channels, mailbox, offline buffer."""
