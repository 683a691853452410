"""A model judged beside reference MD: comparison, baselines, report.

Change here how runs are compared and shown; what is compared is a file in `measures`.
"""
