"""The planner's language: shapes, slots and code. Layers write it, the planner reads and changes it."""

from engine.program.core import require_matching_core

require_matching_core()  # before anything asks the core for what another version of it lacks
