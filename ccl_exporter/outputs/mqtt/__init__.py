"""Publishing readings over MQTT."""
