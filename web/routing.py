"""The framework's route decorators, with what all our routes share: a thread each, and the errors they may answer."""

from functools import partial

import litestar

from web.errors import RESPONSES

get = partial(litestar.get, sync_to_thread=True, responses=RESPONSES)
post = partial(litestar.post, sync_to_thread=True, responses=RESPONSES)
patch = partial(litestar.patch, sync_to_thread=True, responses=RESPONSES)
delete = partial(litestar.delete, sync_to_thread=True, responses=RESPONSES)
