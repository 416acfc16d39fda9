"""Clusters of Postgres for tests: the first is made by initdb, which takes a second, all others are copies of it."""

import shutil
import subprocess


def copying(initdb, template):
    """`LocalPostgres._run_initdb`, but it keeps beside `template` what it has made once with the same programs."""

    def copy(server, binaries, account):
        copy = template.with_name(f"{template.name}{str(binaries).replace('/', '_')}")
        if copy.exists():
            subprocess.run(["cp", "-a", copy, server.data], check=True)
            if not account.is_ours:
                subprocess.run(["chown", "-R", f"{account.uid}:{account.gid}", server.data], check=True)
        else:
            initdb(server, binaries, account)
            shutil.copytree(server.data, copy)

    return copy
