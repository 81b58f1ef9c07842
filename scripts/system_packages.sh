#!/bin/sh
# Install the system packages that Qt and OpenGL need, but only those that are missing.
#
# SYSTEM_PACKAGES=skip leaves the system alone.
set -eu

needed="xvfb xauth libgl1 libegl1 libdbus-1-3 libfontconfig1 libglib2.0-0 libxkbcommon-x11-0
libxcb-cursor0 libxcb-icccm4 libxcb-keysyms1 libxcb-shape0"

say() { printf '%s\n' "$*"; }

installed() {
    dpkg-query --show --showformat='${db:Status-Status}\n' "$1" 2>/dev/null | grep -qx installed
}

if [ "${SYSTEM_PACKAGES:-}" = skip ]; then
    exit 0
fi

if ! command -v dpkg-query >/dev/null 2>&1 || ! command -v apt-get >/dev/null 2>&1; then
    if [ "$(uname -s)" = Linux ]; then
        say "This is neither Debian nor Ubuntu, so nothing was installed on the system. Qt and OpenGL need"
        say "what these Debian packages hold (Xvfb only where there is no display):"
        say "  $needed"
    fi
    exit 0
fi

missing=""
for package in $needed; do
    # Debian 13 and Ubuntu 24.04 renamed some libraries by adding t64.
    installed "$package" || installed "${package}t64" || missing="$missing $package"
done
if [ -z "$missing" ]; then
    exit 0
fi

say "Qt and OpenGL need system packages that are missing:$missing"
if [ "$(id -u)" -eq 0 ]; then
    as_admin=""
elif command -v sudo >/dev/null 2>&1; then
    as_admin="sudo"
    say "Installing them needs the administrator's right, so sudo may ask for your password."
else
    say "Installing them needs the administrator's right, and there is no sudo. As root, run"
    say "  apt-get update && apt-get install --yes --no-install-recommends$missing"
    say "and try again. Or set SYSTEM_PACKAGES=skip if they are installed in another way."
    exit 1
fi

# A package list that is out of date is no reason to stop: the install below may still work.
$as_admin apt-get update -q || say "The package lists could not be refreshed; trying with the old ones."
# shellcheck disable=SC2086  # word splitting is meant
$as_admin env DEBIAN_FRONTEND=noninteractive apt-get install --yes -q --no-install-recommends $missing
