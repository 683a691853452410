"""How beads are moved by one step: the networks of our own kind, and what runs them.

Change here what the networks see and compute, and how fast.
"""
