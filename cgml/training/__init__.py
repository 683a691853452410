"""From bead frames to weights: windows, losses, checkpoints, the model at the end.

Change here how a model is trained.
"""
