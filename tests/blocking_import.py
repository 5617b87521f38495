"""A handler whose module does in a worker what a variable of the environment says, when it is imported."""

import os

from blocking import visit

_WHAT = os.environ.get("BLOCKING_IMPORT", "")

if _WHAT == "exit":
    os._exit(7)
elif _WHAT:
    visit((int(_WHAT), "import"))


def handle(message):
    return message
