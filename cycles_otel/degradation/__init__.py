"""What becomes of a step that the budget denies: it raises, goes on cheaper, is left out, or waits."""
