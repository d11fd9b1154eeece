"""`python -m whatsit` is the `whatsit` command."""

import sys

from whatsit.apps.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
