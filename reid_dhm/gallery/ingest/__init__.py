"""From a source to stored tracklets, safe against a kill at any moment."""
