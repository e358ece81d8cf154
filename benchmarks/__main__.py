"""``python -m benchmarks``: compare us with other systems, and write the results page."""

import sys

from benchmarks.compare import main

sys.exit(main())
