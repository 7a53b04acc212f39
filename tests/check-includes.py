#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Holds the floors apart: a file includes its own floor and lower ones, always as "floor/file.h", and each
library's headers only where its owner lives. Prints each offence as FILE:LINE and exits 1."""
import pathlib
import re
import sys

FLOORS = ["base", "wire", "proto", "talk", "probe", "core", "bus"]
MAY_USE = {floor: FLOORS[: i + 1] for i, floor in enumerate(FLOORS)}
MAY_USE["proto"] = ["base", "proto"]  # parsers never see a connection

# header prefix -> the files (prefix of path below the root) that may include it
OWNERS = {
    "ares.h": ["service/wire/dns"],
    "curl/": ["service/wire/http"],
    "openssl/ssl.h": ["service/wire/tls", "service/wire/stream", "tests/unit/wire/"],
    "openssl/x509": ["service/wire/cert", "service/wire/tls", "tests/unit/wire/"],
    "openssl/": ["service/base/", "service/wire/tls", "service/wire/cert", "service/wire/stream", "tests/"],
    "gsasl.h": ["service/proto/sasl"],
    "expat.h": ["service/proto/autoconfig"],
    "idn2.h": ["service/proto/address"],
    "libpsl.h": ["service/proto/address"],
    "sqlite3.h": ["service/core/store", "tests/unit/core/"],
    "systemd/sd-bus": ["service/bus/", "cli/", "tests/"],
    "sys/acl.h": ["service/core/maildir", "tests/unit/core/"],
    "ini.h": ["service/core/config"],
}
INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]')


def offences(root):
    for path in sorted([*root.glob("service/**/*.[ch]"), *root.glob("cli/**/*.[ch]"), *root.glob("tests/unit/**/*.[ch]")]):
        where = str(path.relative_to(root))
        parts = where.split("/")
        floor = parts[1] if parts[0] == "service" else parts[2] if parts[0] == "tests" else "cli"
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            match = INCLUDE.match(line)
            if not match:
                continue
            kind, header = match.groups()
            owners = next((o for prefix, o in OWNERS.items() if header.startswith(prefix)), None)
            if owners and not any(where.startswith(o) for o in owners):
                yield f"{where}:{number}: {header} belongs to {', '.join(owners)}"
            if kind == '"' and header not in ("config.h", "dbus/names.h"):
                used = header.split("/")[0]
                if "/" not in header:
                    yield f'{where}:{number}: include as "floor/file.h": {header}'
                elif floor == "cli" and used != "cli":
                    yield f"{where}:{number}: cli/ sees only cli/ and the bus: {header}"
                elif floor in MAY_USE and used not in MAY_USE[floor] + (["tests"] if parts[0] == "tests" else []):
                    yield f"{where}:{number}: {floor}/ may not use {used}/"


def main():
    found = list(offences(pathlib.Path(sys.argv[1])))
    print("\n".join(found) or "every include keeps to its floor")
    sys.exit(bool(found))


main()
