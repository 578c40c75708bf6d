"""`qkd-lab bench`: load on a running network, beside the floor under it (docs/performance.md)."""
