"""One suite of cases for every CRI v1 runtime: the fake one, and any that answers on a socket."""
