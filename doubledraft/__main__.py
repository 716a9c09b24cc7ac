"""Lets `python -m doubledraft` be the command line."""

import sys

from doubledraft.cli.main import main

sys.exit(main())
