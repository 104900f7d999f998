"""What connects the gateway to Kubernetes or Docker: adoption, reconciliation, annotations."""
