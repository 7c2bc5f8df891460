"""This host: its devices, its memory, its processes."""
