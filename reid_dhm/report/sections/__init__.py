"""What the pages of an evaluation and of a comparison show."""
