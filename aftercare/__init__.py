"""The command `aftercare`: the embedded stack, the demo, simulation, and tools for operators."""
