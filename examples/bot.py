"""A chat bot that answers messages, and two that it has trouble with."""

import asyncio


async def answer(message: str) -> str:
    """Shout back; an upload never comes to its end, a sticker cannot be read."""
    if message == "<upload>":
        await asyncio.Event().wait()
    if message == "<sticker>":
        raise ValueError("cannot read a sticker")
    return message.upper()
