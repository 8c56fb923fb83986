"""Who is who: from tracklets and what users said to people."""
