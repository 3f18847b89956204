"""Running a study: in this process, in several, and what is told of it meanwhile."""
