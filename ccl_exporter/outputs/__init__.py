"""Samples written down: Prometheus text, InfluxDB line protocol with its queue, MQTT."""
