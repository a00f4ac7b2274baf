"""`python -m imageservice` is `image-service-operator`."""

import sys

from imageservice.cli import main

sys.exit(main())
