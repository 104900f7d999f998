"""What a client asks for and what an administrator allows: pure."""
