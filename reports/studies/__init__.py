"""Everything that shows a study, made from its `Study` alone: figures, tables, a page, lists, a mirror in W&B."""
