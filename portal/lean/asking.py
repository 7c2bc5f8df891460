"""Asking the processes of a version, for every protocol that asks for tensors."""

from __future__ import annotations

from inference.client import Reply, runners
from inference.errors import BadImage
from inference.served import Pictures, Question, Served
from portal.lean.exchange import LARGE_BYTES


def is_large(reply: Reply) -> bool:
    """Whether the answer is written in a thread, so that the others are not kept waiting."""
    return sum(array.nbytes for array in reply.outputs.values()) >= LARGE_BYTES


async def ask_runner(served: Served, question: Question, timeout_s: float | None = None) -> Reply:
    """The outputs. Raises BadImage that says which picture cannot be read; `timeout_s` only shortens the limit."""
    reply = await runners.ask(served, question, timeout_s=timeout_s)
    if isinstance(question, Pictures) and reply.bad_images:
        index, sentence = min(reply.bad_images.items())
        raise BadImage(sentence if len(question.data) == 1 else f"Picture {index}: {sentence}")
    return reply
