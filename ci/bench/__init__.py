"""`make bench`: this product beside its peer on one cluster, and beside what the cluster itself takes."""
