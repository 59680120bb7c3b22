"""The outputs: Prometheus text, InfluxDB line protocol with its queue, MQTT."""
