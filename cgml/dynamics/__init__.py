"""A model bound to systems and moved in time: state -> state, reproducibly.

Change here what a step keeps, draws and refuses; engines drive this and nothing else.
"""
