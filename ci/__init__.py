"""Build, run and show the product: images, clusters, the demo. Knows nothing of kernels.

Run from the checkout's root with the project's environment: ``.venv/bin/python -m ci.images``.
"""
