"""Adapt a frozen vision network to a task by learning which of its weights to switch off."""

__version__ = "0.1.0"
