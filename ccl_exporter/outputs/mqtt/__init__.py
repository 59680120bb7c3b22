"""The output to an MQTT broker, with discovery messages for Home Assistant."""
