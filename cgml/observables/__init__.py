"""What is measured of frames, with honest errors; nothing here knows a model.

Add here a quantity that can be computed from positions alone.
"""
