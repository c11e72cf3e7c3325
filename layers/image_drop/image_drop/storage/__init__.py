"""The buckets and the queue."""
