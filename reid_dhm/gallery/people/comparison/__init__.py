"""Which model tells the people of a gallery apart best, without labels."""
