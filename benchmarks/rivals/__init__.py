"""What the portal is measured against, one file each, with its requirements beside it. None of them knows the portal:
each runs in an environment of its own and finds the model in the folder that BENCH_MATERIAL names."""
