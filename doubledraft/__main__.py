"""The command line, as `python -m doubledraft`."""

import sys

from doubledraft.cli.main import main

sys.exit(main())
