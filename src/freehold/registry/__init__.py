"""Models: immutable versions with hash and lineage, and the aliases champion and challenger.

Training and serving are never here: the registry only knows what a version is and whether it is unchanged.
"""
