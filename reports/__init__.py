"""Reports: everything a person looks at, made from run folders."""
