"""Where a methane enhancement comes from: one module for each method, all giving `DayPlan`s."""
