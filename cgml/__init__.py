"""Learned coarse-grained molecular dynamics: units, molecules, model, propagator."""
