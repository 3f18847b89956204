"""The runs of a study: what each is, its key, and which must have ended before which."""
