"""What is on record of a study, and how it stands."""
