"""Files: written whole or not at all, and read without trusting them.

Knows torch and safetensors, and reads without torch what needs none; knows nothing of masks, images or experiments.
"""
