"""Readings to InfluxDB and to databases that accept its line protocol: queue, sender, client."""
