"""The metrics of each process, a module each; all of them together are in `listing`.

Nothing is imported here: the encoder's must not bring what the pipeline's are made from.
"""
