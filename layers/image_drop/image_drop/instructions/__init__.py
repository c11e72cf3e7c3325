"""What a person wants: the words, where they come from, and the options of a finish."""
