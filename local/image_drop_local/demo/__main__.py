"""`python -m image_drop_local.demo`, which is `make demo`."""

import sys

from image_drop_local.demo.run import main

sys.exit(main())
