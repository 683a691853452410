"""The command line: one module per command, which reads options, calls, and prints.

A new command is a module here and a row of `app.COMMANDS`; the work is done elsewhere.
"""
