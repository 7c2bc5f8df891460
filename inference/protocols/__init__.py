"""The protocols that existing clients speak, over the same runners: V2 and TensorFlow Serving.

Nothing here reads from the network or knows who asks: bytes and headers in, a question for the runners, bytes out.
"""
