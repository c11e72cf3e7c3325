"""What runs on a laptop in the place of AWS and Venice."""
