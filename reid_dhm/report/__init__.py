"""Reports of evaluation runs: HTML pages that open in a browser from disk.

They read results and compute no metric; activation maps come from the caller.
"""
