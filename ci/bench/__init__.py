"""`make bench`: this product beside its peer, on a cluster and beside a Docker engine, with baselines."""
