"""How much attention query rows give to each key column."""
