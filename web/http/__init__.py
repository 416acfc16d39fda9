"""What all routes share: what a request must be, fairness, paging, errors, the connection."""
