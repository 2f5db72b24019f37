"""Benchmarks of the function library on a store of their own."""
