"""The memory of a plan: where its values lie, how to do with less, and how much there is."""
