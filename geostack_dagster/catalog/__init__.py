"""From a query to a frozen snapshot of Items."""
