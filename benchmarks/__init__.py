"""Benchmarks of a running portal: `python -m benchmarks`, or `make bench`. One file for each measurement."""
