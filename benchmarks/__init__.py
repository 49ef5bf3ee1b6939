"""
`make bench`: each benchmark compares two ways of doing the same work within one run, and prints ratios beside their
targets.
"""
