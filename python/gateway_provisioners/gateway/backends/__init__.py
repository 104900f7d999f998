"""The gateway's connection to Kubernetes or Docker: adoption, reconciliation, annotations."""
