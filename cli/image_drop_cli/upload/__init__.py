"""What `put` and `make demo` do: find files, send them, follow their edits, fetch the results."""
