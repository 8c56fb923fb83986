"""The SQLite store: schema, writing, editing, deletion, audit and integrity."""
