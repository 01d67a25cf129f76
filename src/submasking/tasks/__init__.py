"""Tasks: one task in one small file, many tasks on one backbone.

Knows masking and files; no images, no training, no paper.
"""
