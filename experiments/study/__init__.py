"""The parts of reading a study: the schema of its file, factors, budgets, needs, what makes two rows one, checks."""
