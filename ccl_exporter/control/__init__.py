"""Writing to a charger so that what is said happened: variables, charges, limits, nights. Not for the service."""
