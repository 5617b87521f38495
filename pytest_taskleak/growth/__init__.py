"""Objects that grow: with each repetition of a test, and over a whole run.

Nothing here is needed unless it is asked for, so its modules are imported where it is.
"""
