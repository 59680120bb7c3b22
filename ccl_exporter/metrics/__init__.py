"""Metric families, which are the contract with users, and the samples of a snapshot."""
