"""`python -m whatsit` is the `whatsit` command."""

from whatsit.apps.cli.main import run

if __name__ == "__main__":
    run()
