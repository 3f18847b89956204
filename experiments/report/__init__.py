"""Reports: `table` makes pure data out of a study and its results, `render` turns the data into text."""
