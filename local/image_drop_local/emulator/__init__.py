"""AWS on this machine: the real template and functions, without Docker."""
