"""Values only: a base with every key, named variants, one file per tracker."""
