"""The synthetic world: who lives in it, where they walk, how they are drawn, and what is said of them."""
