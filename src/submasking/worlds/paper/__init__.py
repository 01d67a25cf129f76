"""The paper itself: its six networks and eight data sets as they were published, for who has a network and a GPU.

Knows how to fetch and check published files; its tables (`weights`, `catalogue`) need no torch.
"""
