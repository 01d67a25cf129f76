"""Files: written whole or not at all, and read without trusting them.

Knows torch and safetensors; knows nothing of masks, images or experiments.
"""
