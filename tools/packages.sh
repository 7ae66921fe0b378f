#!/bin/sh
# Installs Debian packages, those alone whose command or file is not there.
#
#   sh tools/packages.sh NAME=PACKAGE...      NAME is a command, or the absolute path of a file
#
# Where it may not or cannot, it says once all that is to be installed, and ends with 1.
set -eu
. "$(dirname "$0")/step.sh"

# Debian puts servers where only root's PATH looks.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

# Exists while apt runs. An interrupted apt leaves packages unpacked and not configured: their commands are there, and do
# not work. So as long as it exists, no command is believed.
unfinished=${EBB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/ebb}/apt-unfinished

names=
packages=
for spec in "$@"; do
  name=${spec%%=*}
  if [ ! -e "$unfinished" ]; then
    case $name in
      /*) [ ! -e "$name" ] || continue ;;
      *) ! command -v "$name" >/dev/null || continue ;;
    esac
  fi
  names="$names $name"
  packages="$packages ${spec#*=}"
done
[ -n "$packages" ] || exit 0

if ! command -v apt-get >/dev/null; then
  say "missing:$names"
  say "this is not Debian; there, the packages$packages have them. Install the like, and run this again."
  exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
  say "missing:$names"
  say "only root may install them. Run this as root, and then the same command again:"
  say "    apt-get install --no-install-recommends$packages"
  exit 1
fi

# Debian's nats-server and prometheus would start as services that listen on all addresses. Ours are started by Ebb and its
# tests, each with its own address and store.
for service in nats-server prometheus; do
  case "$packages " in
    *" $service "*)
      unit=/etc/systemd/system/$service.service
      if [ ! -e "$unit" ] && [ ! -e "/lib/systemd/system/$service.service" ]; then
        mkdir -p "${unit%/*}"
        ln -s /dev/null "$unit"
      fi
      ;;
  esac
done
export DEBIAN_FRONTEND=noninteractive
apt_get() {
  # Where there is no systemd, an init script would be started: it is not even unpacked.
  apt-get -q -y -o DPkg::Lock::Timeout=600 -o DPkg::Options::=--path-exclude=/etc/init.d/prometheus "$@"
}
install() {
  if [ -e "$unfinished" ]; then
    dpkg --configure -a || return
    apt_get --fix-broken install || return
  fi
  mkdir -p "${unfinished%/*}"
  : >"$unfinished"
  # The lists are fetched only where they do not serve: not there at all, or older than the mirror.
  # shellcheck disable=SC2086
  apt_get --no-install-recommends install $packages || {
    apt_get update && apt_get --no-install-recommends install $packages
  } || return
  rm -f "$unfinished"
}
step "installing Debian packages:$packages (a minute or two)" install
