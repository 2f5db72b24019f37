"""The store: keys, the function library and its client. Only this package imports `redis`."""
