"""Connections to kernels, whose bytes are counted."""
