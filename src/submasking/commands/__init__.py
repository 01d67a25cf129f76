"""Commands: the command line, a file per verb: what it takes, what it does.

Knows every room but the report; nothing knows the commands.
"""
