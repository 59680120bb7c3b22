"""`charge plan`: charging when it costs least."""
