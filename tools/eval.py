"""Evaluate a checkpoint or a file of embeddings: ``reid-dhm eval``."""

import sys

from reid_dhm.cli import main

if __name__ == "__main__":
    main(["eval", *sys.argv[1:]])
