"""How molecules and frames are read from files, and frames written to them.

Add a file format here: one module that reads or writes it, and its row in table.py.
"""
