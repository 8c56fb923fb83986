"""Index a video into a gallery: ``reid-dhm index-video``."""

import sys

from reid_dhm.cli import main

if __name__ == "__main__":
    main(["index-video", *sys.argv[1:]])
