"""Writing readings to InfluxDB and what speaks its line protocol."""
