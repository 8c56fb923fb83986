"""Look after a gallery: ``reid-dhm gallery``."""

import sys

from reid_dhm.cli import main

if __name__ == "__main__":
    main(["gallery", *sys.argv[1:]])
