"""The SQLite store: schema, writing, people, deletion, audit and integrity."""
