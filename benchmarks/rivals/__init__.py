"""The servers that the portal is compared with, one file each, with its requirements beside it. None of them uses the
portal's code: each runs in an environment of its own and finds the model in the folder that BENCH_MATERIAL names."""
