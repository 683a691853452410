"""python -m cgml: the command line."""

from cgml.cli.app import start

if __name__ == "__main__":
    start()
