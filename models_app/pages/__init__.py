"""What the pages print: frozen rows made from the registry, with every figure already in words."""
