"""The output to InfluxDB and other databases with its line protocol: queue, sender, client."""
