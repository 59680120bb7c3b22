"""Charging when it costs least."""
