"""Kernels as containers and Swarm services: the only package that imports the Docker client libraries."""
