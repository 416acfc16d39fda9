"""The media types of bodies, as the description of the API names them."""

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
URL_ENCODED = "application/x-www-form-urlencoded"
FORMS = ("multipart/form-data", URL_ENCODED)
