"""The regime as data (`regime.yaml`, `workdays.yaml`), its typed models, and pure functions that count by it."""
