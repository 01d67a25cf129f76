"""Worlds: where images and pretrained backbones come from, in each profile.

Knows how to train (the small backbones are made here); knows no experiment and no record of one.
"""
