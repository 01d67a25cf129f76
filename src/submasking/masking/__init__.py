"""Masking: the core, learn which weights of a network are off (draft, section 3.1).

Knows only torch: no files, no images, no experiments, no paper.
"""
