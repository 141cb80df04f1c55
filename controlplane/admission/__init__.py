"""What is changed in, or refused of, an object that its sender may write; one plugin per file.

`order.py` names them in the order in which they run.
"""
