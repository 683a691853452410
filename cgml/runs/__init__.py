"""Long runs of many systems on disk: planned, cut into parts, shared, resumed.

Change here what a run leaves behind and how it survives.
"""
