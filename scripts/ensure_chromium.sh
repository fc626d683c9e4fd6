#!/bin/sh
# Makes sure that there is a Chromium or Chrome for the browser tests, and prints its path.
# $CHROMIUM names one; otherwise one is looked for, and at last installed from the system's packages.
set -eu

find_browser() {
  if [ -n "${CHROMIUM:-}" ]; then
    if [ -x "$CHROMIUM" ]; then
      echo "$CHROMIUM"
      return 0
    fi
    echo "CHROMIUM=$CHROMIUM is not a program" >&2
    exit 1
  fi
  for name in chromium chromium-browser google-chrome google-chrome-stable chrome; do
    if command -v "$name" 2>/dev/null; then
      return 0
    fi
  done
  for path in \
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome" \
    "/Applications/Chromium.app/Contents/MacOS/Chromium"; do
    if [ -x "$path" ]; then
      echo "$path"
      return 0
    fi
  done
  return 1
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif command -v sudo >/dev/null 2>&1; then
    sudo "$@"
  else
    echo "Installing Chromium needs root, and there is no sudo. Install it yourself, or set CHROMIUM." >&2
    exit 1
  fi
}

if find_browser; then
  exit 0
fi

if ! command -v apt-get >/dev/null 2>&1; then
  echo "No Chromium or Chrome was found, and this system has no apt-get to install one with." >&2
  echo "Install either, or set CHROMIUM to the path of its program." >&2
  exit 1
fi

echo "No Chromium or Chrome was found; installing it from the system's packages." >&2
as_root apt-get update -qq >&2
# Debian calls the package chromium, Ubuntu chromium-browser.
as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >&2 ||
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium-browser >&2

if find_browser; then
  exit 0
fi
echo "Chromium was installed but cannot be found; set CHROMIUM to the path of its program." >&2
exit 1
