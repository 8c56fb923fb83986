"""Who is who over tracklets and cameras, without labels."""
