"""What `reid-dhm demo` does."""
