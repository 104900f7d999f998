"""Requests to one gateway: where it is, the user's credential, its API.

Knows nothing of messages and of local kernels. All but `api`, `answers`, `progress`, `connections` do without
aiohttp, whose import takes longer than a start may wait.
"""
