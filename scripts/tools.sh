# shellcheck shell=bash
# What the scripts have in common: saying what happens, and getting the tools that they need.

# An ordinary user's PATH often lacks the directories that ip and nft are in.
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

say() { printf '\n== %s\n' "$*"; }

missing() {
    local tool
    for tool in "$@"; do
        command -v "$tool" >/dev/null || printf '%s ' "$tool"
    done
}

# as_root COMMAND...: fails where that would take a password.
as_root() {
    if [[ "$(id -u)" == 0 ]]; then
        "$@"
    else
        sudo -n "$@"
    fi
}

# Brings the lists of packages up to date, where it may. Somebody else may be at it, as on new machines,
# and the lists have a lock that is not waited for.
update_lists() {
    command -v apt-get >/dev/null && as_root true 2>/dev/null || return 1
    local again
    for again in 3 3 0; do
        as_root apt-get update -qq >&2 && break
        sleep "$again"
    done
}

# install PACKAGE...: true when the packages are there afterwards. Their services are not started.
install() (
    update_lists || return 1
    # What Debian's packages ask before they start anything (invoke-rc.d(8)).
    policy=/usr/sbin/policy-rc.d
    if [[ ! -e "$policy" ]]; then
        trap 'as_root rm -f "$policy"' EXIT
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
    fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 \
        install -y -qq --no-install-recommends "$@" >&2
)

# need TOOLS PACKAGES: installs the packages when one of the tools is missing, or ends the script.
need() {
    local tools packages
    read -ra tools <<<"$1"
    read -ra packages <<<"$2"
    [[ -n "$(missing "${tools[@]}")" ]] || return 0
    say "installing ${packages[*]} (missing: $(missing "${tools[@]}"))"
    install "${packages[@]}" || true
    [[ -n "$(missing "${tools[@]}")" ]] || return 0
    printf '\nMissing: %s\nInstall: apt-get install %s\n' \
        "$(missing "${tools[@]}")" "${packages[*]}" >&2
    exit 1
}

# ensure CHECK NAME PACKAGE...: as need, where a command tells whether what has that name is there.
ensure() {
    "$1" && return
    say "installing ${*:3} (missing: $2)"
    install "${@:3}" || true
    "$1" && return
    printf '\nMissing: %s\nInstall: apt-get install %s\n' "$2" "${*:3}" >&2
    exit 1
}

need_rust() {
    # Debian's cargo, which the Windows build takes, is not the one meant here.
    if [[ -n "$(missing rustup)" && -r "$HOME/.cargo/env" ]]; then
        # shellcheck source=/dev/null
        . "$HOME/.cargo/env"
    fi
    if [[ -n "$(missing cargo)" ]]; then
        printf 'Missing: cargo\nInstall Rust 1.88 or newer: https://rustup.rs\n' >&2
        exit 1
    fi
    if ! cargo fmt --version >/dev/null 2>&1 || ! cargo clippy --version >/dev/null 2>&1; then
        rustup component add rustfmt clippy
    fi
}

# What scripts/vm-smoke needs.
need_vm_tools() {
    need "qemu-system-x86_64 unshare timeout python3 xz" "qemu-system-x86 util-linux coreutils python3 xz-utils"
    need "apt-get apt-cache dpkg-deb" "apt dpkg"
}

# What builds for Windows: a compiler, the sources of its standard library, and mingw.
# shellcheck disable=SC2034  # for those who read this file in
windows_packages=(rustc-web rust-web-src cargo-web gcc-mingw-w64-x86-64-win32 g++-mingw-w64-x86-64-win32)

has_windows_tools() {
    [[ -z "$(missing /usr/bin/cargo /usr/bin/rustc x86_64-w64-mingw32-gcc x86_64-w64-mingw32-g++)" ]] &&
        [[ -d "$(/usr/bin/rustc --print sysroot)/lib/rustlib/src/rust/library/std" ]]
}

need_windows_tools() { ensure has_windows_tools "a compiler for Windows" "${windows_packages[@]}"; }

# windows_cargo VERB...: Debian's cargo and compiler, whatever else is first in PATH. The compiler is a
# stable one; that the standard library is built with the program is what is not stable yet.
windows_cargo() {
    local verb="$1"
    shift
    env RUSTC=/usr/bin/rustc RUSTDOC=/usr/bin/rustdoc RUSTC_BOOTSTRAP=1 \
        CARGO_TARGET_X86_64_PC_WINDOWS_GNU_LINKER=x86_64-w64-mingw32-gcc \
        /usr/bin/cargo "$verb" --locked --target x86_64-pc-windows-gnu "$@"
}
