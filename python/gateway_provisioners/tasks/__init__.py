"""What the back ends of all engines wait with: no engine's words, no Jupyter."""
