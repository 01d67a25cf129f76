"""The paper's eight data sets: from their published archives to pictures in a file that is mapped into memory.

Knows archives and pictures; knows no network. Nothing of an archive is unpacked to a place that the archive names.
"""
