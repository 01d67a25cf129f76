"""Report: tables, figures and sentences, made from records and nothing else.

Knows no network, no image and no training: what is not in a record cannot be shown.
"""
