"""Records: what a run was and what it gave, in one file; the names and settings that a record speaks of.

Knows only how to write files: no torch, no masks, no images. Everything that shows results begins here.
"""
