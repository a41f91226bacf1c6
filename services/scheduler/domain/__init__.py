"""The scheduler's decisions: pure functions over the agenda, the policy and the calendar. Time is an argument."""
