# SPDX-License-Identifier: LGPL-2.1-or-later
# What the scripts share: packages, users, builds. Sourced, not run. All of it may be called again at any time:
# what stands is left alone, what is broken is made anew.

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
clean_env=(env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 HOME="${HOME:-/root}")

say() { printf 'waypost: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

need_root() {
        [ "$(id -u)" = 0 ] || die "this has to run as root: it makes namespaces and runs services as users of their own"
}

# run_quietly WHAT COMMAND...: output is shown only if the command fails.
run_quietly() {
        local what=$1 log
        shift
        log=$(mktemp) || return 1
        if "$@" </dev/null >"$log" 2>&1; then
                rm -f "$log"
                return 0
        fi
        say "$what failed:"
        tail -n 200 "$log" >&2
        rm -f "$log"
        return 1
}

# missing_packages [SECTION...]: of packages.txt, in which "# SECTION" or "# SECTION: more" heads a section; else all.
missing_packages() {
        local wanted
        wanted=$(awk -v sections=" $* " '/^#/ { s = $2; sub(/:$/, "", s); next }
                NF && (sections ~ /^ *$/ || index(sections, " " s " ")) { print $1 }' "$project/scripts/packages.txt")
        # shellcheck disable=SC2086
        { dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' $wanted 2>/dev/null | sed -n 's/^ii *//p'; } \
                | sort -u | comm -23 <(sort -u <<<"$wanted") -
}

# Packages of servers start them, unless policy-rc.d says no. One that is there already stays as it is.
apt_install() {
        local policy=/usr/sbin/policy-rc.d ours='' result=0
        if [ ! -e "$policy" ]; then
                printf '#!/bin/sh\nexit 101\n' >"$policy"
                chmod 755 "$policy"
                ours=1
                trap 'rm -f /usr/sbin/policy-rc.d' EXIT
        fi
        local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=600)
        run_quietly 'apt-get update' "${apt[@]}" update \
                && run_quietly 'apt-get install' "${apt[@]}" install --no-install-recommends "$@" || result=1
        if [ "$ours" ]; then
                rm -f "$policy"
                trap - EXIT
        fi
        return $result
}

install_packages() {
        local missing
        missing=$(missing_packages "$@")
        [ "$missing" ] || return 0
        need_root
        say "installing $(wc -w <<<"$missing") packages (this takes a few minutes on a bare system)"
        # shellcheck disable=SC2086
        apt_install $missing || die "packages could not be installed"
        missing=$(missing_packages "$@")
        [ -z "$missing" ] || die "still not installed: $missing"
}

# The lab's OpenID provider comes from npm, which Debian has apart from nodejs and others have in it. Without it the tests that
# need it say what is missing, and fail.
install_issuer() {
        command -v npm >/dev/null || { say "installing npm"; apt_install npm || die "npm could not be installed"; }
        PYTHONPATH=$project/tests/lab PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 -m wplab.issuer || say "the lab's OpenID provider is missing"
}

make_users() {
        if ! getent passwd waypost >/dev/null; then
                { [ -f "$project/systemd/waypost.sysusers" ] \
                        && run_quietly systemd-sysusers systemd-sysusers "$project/systemd/waypost.sysusers"; } \
                        || useradd --system --user-group --no-create-home --home-dir /var/lib/waypost \
                                --shell /usr/sbin/nologin waypost || die "the user waypost could not be made"
        fi
        getent passwd vmail >/dev/null \
                || useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin vmail \
                || die "the user vmail could not be made"
}

# build_usable DIR OPTIONS: whether DIR was set up here, for this source folder, with these options, and still works.
build_usable() {
        [ -f "$1/build.ninja" ] && [ -f "$1/meson-info/meson-info.json" ] \
                && grep -qF "\"source\": \"$project\"" "$1/meson-info/meson-info.json" \
                && grep -qF "\"build\": \"$1\"" "$1/meson-info/meson-info.json" \
                && [ "$(cat "$1/scripts-options" 2>/dev/null)" = "$2" ] \
                && "${clean_env[@]}" ninja -C "$1" build.ninja </dev/null >/dev/null 2>&1
}

# build_in NAME MESON_OPTION...: configures and builds $project/NAME; one build of a tree at a time. In a subshell,
# whose end gives the lock back.
build_in() (
        local dir=$project/$1 lock
        shift
        exec {lock}<"$project/scripts/common.sh"
        flock "$lock" || return 1
        if ! build_usable "$dir" "$*"; then
                rm -rf "$dir"
                run_quietly 'meson setup' "${clean_env[@]}" meson setup "$dir" "$project" "$@" || return 1
                printf '%s\n' "$*" >"$dir/scripts-options"
        fi
        local left
        left=$("${clean_env[@]}" ninja -C "$dir" -n ${build_targets:-} 2>/dev/null | sed -n 's/^\[[0-9]*\/\([0-9]*\)\].*/\1/p' | tail -n 1)
        [ "${left:-0}" -lt 10 ] || say "building ($left steps)"
        # shellcheck disable=SC2086
        run_quietly build "${clean_env[@]}" ninja -C "$dir" ${build_targets:-}
)

build_release() { build_in build --buildtype=debugoptimized || die "waypost could not be built"; }

build_sanitized() {
        build_in build-san --buildtype=debug -Doptimization=1 -Db_sanitize=address,undefined -Db_lundef=false \
                || die "waypost could not be built with sanitizers"
}

build_fuzzers() {
        build_targets=fuzzers build_in build-fuzz --native-file "$project/scripts/clang.ini" --buildtype=debugoptimized \
                -Db_sanitize=address,undefined -Db_lundef=false -Dc_args=-fsanitize=fuzzer-no-link \
                -Dc_link_args=-fsanitize=fuzzer-no-link || die "the fuzzers could not be built"
}

# lab_python ARGUMENT...: replaces the shell by Debian's Python with the lab's modules.
lab_python() {
        PYTHONPATH=$project/tests/lab PYTHONDONTWRITEBYTECODE=1 exec /usr/bin/python3 "$@"
}
