#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# systemd/test-unit.sh UNIT PROGRAM SYSUSERS: systemd understands the unit, and it is confined as promised: exposure 1.5 or better.
#
# systemd-analyze verify ends with 0 even for keys that it does not know, so a single line of complaint is a failure.
# Where the unit will start the installed program, the copy that is checked starts the built one.
set -u
unit=$(realpath "$1") program=$(realpath "$2") sysusers=$(realpath "$3")
command -v systemd-analyze >/dev/null || {
        echo 'systemd-analyze is not installed'
        exit 77
}
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
sed "s|^ExecStart=.*|ExecStart=$program|; /^Documentation=/d" "$unit" >"$folder/waypost.service" || exit 1

said=$(systemd-analyze verify --man=no "$folder/waypost.service" 2>&1)
status=$?
if [ $status -ne 0 ] || [ -n "$said" ]; then
        echo "systemd-analyze verify ($status): $said"
        exit 1
fi
systemd-analyze security --offline=true --threshold=15 --no-pager "$folder/waypost.service" >"$folder/security" || {
        tail -1 "$folder/security"
        grep '✗' "$folder/security"
        exit 1
}
tail -1 "$folder/security"
systemd-sysusers --dry-run "$sysusers" || exit 1
