"""What runs on a laptop instead of AWS and Venice."""
