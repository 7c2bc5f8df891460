"""What the portal costs, measured on a real one: `python -m benchmarks`, or `make bench`. One file a measurement."""
