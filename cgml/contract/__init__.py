"""What every kind of model brings, and what is the same for all of them.

Change here what is asked of a kind: stepper, program, atoms. Kinds know no other.
"""
