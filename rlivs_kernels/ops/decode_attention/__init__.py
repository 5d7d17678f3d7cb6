"""One decode step of attention that can add up the attention its columns receive."""
