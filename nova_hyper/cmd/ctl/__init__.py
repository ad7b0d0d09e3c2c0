"""The verbs of ``hyperctl``, one module for each noun."""
