"""Kernels as containers and Swarm services of a Docker engine. No traits, no Jupyter."""
