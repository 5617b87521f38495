"""The soak: the incident's queue and the reference queue under the same load, side by side.

``python -m reference_queue soak`` runs it; `pip install 'pytest-taskleak[soak]'` brings what it draws with. Each queue
runs in a process of its own, so that its memory is its own, and is stopped when that reaches a limit.

- `load`: what is sent, when, and what becomes of it.
- `child`: one queue under a load; tells figures line by line.
- `run`: two children side by side.
- `trend`: whether a figure grows, by regression.
- `verdict`: the table, and the incident's checklist with the result of each item.
- `plot`: live promises and memory over time.
- `files`: whole or not at all.
- `command`: the command line.
"""
