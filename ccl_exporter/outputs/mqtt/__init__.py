"""Readings to an MQTT broker, and what Home Assistant needs to discover them."""
