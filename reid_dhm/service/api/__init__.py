"""The routes of the interface, and the shapes of their requests and responses."""
