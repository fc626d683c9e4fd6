#!/bin/sh
# Makes sure that the TLS servers of the interoperability tests are installed: OpenSSL, GnuTLS, nginx, NSS.
# Debian's and Ubuntu's packages are used; elsewhere, or without the right to install, it says what is missing.
# The tests run with whatever is there and name what they skip. Go, for the hybrid group, is used where found.
set -eu

missing=""
need() { # program, Debian package
  command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || missing="$missing $2"
}
need openssl openssl
need gnutls-serv gnutls-bin
need nginx nginx-light
need selfserv libnss3-tools

if [ -z "$missing" ]; then
  echo "all TLS servers are installed"
  exit 0
fi
if command -v apt-get >/dev/null 2>&1; then
  as_root=""
  [ "$(id -u)" -eq 0 ] || as_root="sudo -n"
  # shellcheck disable=SC2086  # words on purpose
  if $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing >/dev/null 2>&1 ||
    { $as_root apt-get update >/dev/null 2>&1 &&
      $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing >/dev/null 2>&1; }; then
    echo "installed:$missing"
    exit 0
  fi
fi
echo "not installed, their tests will be skipped:$missing" >&2
