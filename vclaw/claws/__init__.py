"""Claws as the user knows them: what was asked for, what is true of them, what to do with them."""
