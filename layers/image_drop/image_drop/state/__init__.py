"""What the functions share: the items of the state table, one module for each kind."""
