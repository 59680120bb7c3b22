"""The configuration files: each section checked and turned into settings, and inventories of more chargers."""
