"""AWS as its documentation describes it: states that change at once, without time and faults.

Each class is one service behind the methods of its boto3 client that the project calls. What takes
time, fails, repeats and gets lost on the way is in `machine`; for benchmarks, what takes time and
costs money is in `metered`.
"""
