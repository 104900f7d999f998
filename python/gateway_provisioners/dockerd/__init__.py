"""Kernels as containers of a Docker engine. No traits, no Jupyter."""
