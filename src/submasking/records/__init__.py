"""Records: a run in one file, and the names and settings that it speaks of.

Knows only how to write files: no torch, no masks, no images. Everything that shows results begins here.
"""
