"""Questions to many runs at once, a file for each: what it reads or trains, and the tables that it leaves.

A notebook of the same name asks it, `submasking.report` draws it, and `keeping.kept` makes it once.
"""
