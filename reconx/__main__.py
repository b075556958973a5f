"""`python -m reconx`."""

import sys

from .cli import main

sys.exit(main())
