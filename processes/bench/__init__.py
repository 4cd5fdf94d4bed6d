"""Benchmarks: each measures the engine and its reference in one run."""
