"""The try pages: pick a model, ask it with pictures or tensors, see what it answers and what it was shown."""
