"""What moves: bond graphs, beads, boxes and frames, before any network sees them.

Change here how atoms become beads, and what a bond graph implies by itself.
"""
