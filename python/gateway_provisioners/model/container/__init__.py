"""A kernel's container, service or task on Docker: its configuration and what its state means: pure."""
