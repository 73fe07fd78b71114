"""Linen modules of the tracker."""
