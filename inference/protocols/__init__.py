"""The protocols of existing clients, served by the same runners: V2 and TensorFlow Serving.

Nothing here uses the network or knows the user: request bytes become a model's input, outputs bytes again.
"""
