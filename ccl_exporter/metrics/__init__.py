"""Metric families and the samples of a snapshot."""
