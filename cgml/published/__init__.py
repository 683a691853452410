"""Checkpoints of the paper's authors: how they are read, and how they run.

The layout is theirs; change here only how fast it is evaluated.
"""
