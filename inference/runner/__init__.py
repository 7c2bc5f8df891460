"""The process that holds one model: no Django, no secrets, its own limits."""
