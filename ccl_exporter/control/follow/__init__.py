"""Letting a car follow the sun or leave the rest of a house enough."""
