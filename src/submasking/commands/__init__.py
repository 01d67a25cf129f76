"""The command line: a file per verb, with `add`, which describes it to argparse, and `run`, which does it.

Knows every room but the report; nothing knows the commands.
"""
