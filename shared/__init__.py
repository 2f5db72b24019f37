"""What hub and agent share: wire types, the broker's functions and their client, configuration, errors, logs."""

__version__ = "0.1.0"
