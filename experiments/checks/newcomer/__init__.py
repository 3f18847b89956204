"""The path of a person who sees the project for the first time, walked and timed: from installing to predicting."""
