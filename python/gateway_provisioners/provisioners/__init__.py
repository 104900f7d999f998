"""jupyter_client plug-ins: traits and the life of one kernel. No client-library types."""
