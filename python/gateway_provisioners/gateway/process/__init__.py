"""The gateway as a process: health, metrics, TLS, open files."""
