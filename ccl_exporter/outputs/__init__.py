"""Samples written down: exposition text, line protocol with its durable queue, MQTT."""
