"""Measures restored pictures: metrics, protocols, comparison tables and picture sheets."""
