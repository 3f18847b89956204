"""A network as one C99 file without dependencies: the program of `Network.plan(1, algorithm="direct")`, op by op."""
