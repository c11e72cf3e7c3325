"""What `put` does: find files, send them, follow their edits."""
