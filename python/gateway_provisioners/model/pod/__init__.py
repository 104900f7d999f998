"""A kernel's Pod: its manifest, and what its status, events and annotations mean: pure."""
