"""Venice: its calls, its models with their limits and prices, its errors."""
