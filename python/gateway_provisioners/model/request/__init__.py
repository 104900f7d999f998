"""Requests of clients, checked against what the administrator allows: pure."""
