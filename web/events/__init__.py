"""The event feed: how events are shown, page by page and live, and the catalogue of their kinds."""
