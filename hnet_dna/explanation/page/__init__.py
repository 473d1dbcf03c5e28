"""The page of a report, with its genome browser, and the server that shows it."""
