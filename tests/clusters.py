"""Clusters of Postgres for tests: the first is made by initdb, which takes a second, all others are copies of it."""

import shutil
import subprocess


def copying(initdb, template):
    """`LocalPostgres._initdb`, but it keeps in `template` what it has made once."""

    def copy(server, binaries, account):
        if template.exists():
            subprocess.run(["cp", "-a", template, server.data], check=True)
            if not account.is_ours:
                subprocess.run(["chown", "-R", f"{account.uid}:{account.gid}", server.data], check=True)
        else:
            initdb(server, binaries, account)
            shutil.copytree(server.data, template)

    return copy
