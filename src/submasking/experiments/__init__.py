"""Experiments: one run, all runs of a grid, the notebooks; a question each, answered in records.

Knows every room but the commands; shows nothing that is not in a record.
"""
