"""The whole system in one process and in virtual time, with faults drawn from a seed."""
