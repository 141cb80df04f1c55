"""Cluster addresses and node ports of Services: what to hand out is decided from what is taken."""
