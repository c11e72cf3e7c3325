"""What a person wants: the keys of instructions, their sources, and the options of a finish."""
