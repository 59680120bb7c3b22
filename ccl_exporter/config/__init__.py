"""What the configuration file says, checked, and where else chargers may come from."""
