"""Which kinds of models there are, and the one file that holds a model and its program.

Add a kind of model here; the models that come with the package lie beside.
"""
