"""Shared by all routes: the checks of a request, fairness between tenants, paging, errors, the connection."""
