"""How good answers are: one scorer per kind of work, and what follows from many scores together.

Nothing here asks a model or draws a random number.
"""
