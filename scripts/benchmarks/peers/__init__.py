"""Muster beside other queues: one side a file, and what measures them all the same way."""
