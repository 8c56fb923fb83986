"""What is known of people: lists, counts, routes, files."""
