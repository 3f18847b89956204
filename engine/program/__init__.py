"""The planner's language: shapes, slots and code. Layers write it, the planner reads and changes it."""
