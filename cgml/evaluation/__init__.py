"""A model judged beside reference MD: comparison, baselines, report.

Change here what is compared, and how it is shown.
"""
