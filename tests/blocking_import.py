"""A handler whose module does in a worker what a variable of the environment says, when it is imported."""

import os

from blocking import visit

_WHAT = os.environ.get("BLOCKING_IMPORT", "")

if _WHAT == "exit":
    os._exit(7)
elif _WHAT == "limit":
    import resource

    with open("/proc/self/statm") as statm:  # noqa: PTH123 - of the system
        pages = int(statm.read().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 16_000_000,) * 2)
elif _WHAT:
    visit((int(_WHAT), "import"))


def handle(message):
    return message
