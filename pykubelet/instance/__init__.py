"""A node brought up by `pykubelet up`: where it lives, what it is made of, how it ends and is explained."""
