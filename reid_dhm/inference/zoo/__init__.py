"""Published models by name: what there is, fetching it, and adding one's own."""
