"""Charging sessions: when one has ended, the file that keeps them, the report."""
