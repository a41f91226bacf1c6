"""What a decision of the scheduler does, by subject. `reactions.Decision` has all of it."""
