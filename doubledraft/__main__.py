"""Lets `python -m doubledraft` be the command line."""

import sys

from doubledraft.cli import main

sys.exit(main())
