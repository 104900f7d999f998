"""A kernel's Pod: its manifest, and the meaning of its status, events and annotations: pure."""
