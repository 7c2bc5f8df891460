"""The ASGI path in front of Django: what must not pass through its middleware, or must be counted before it."""
