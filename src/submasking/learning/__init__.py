"""Learning: the only training loop, and how a backbone is adapted to images by any method.

Knows masks and what a task keeps; not where backbones and images come from, nor which experiment asks.
"""
