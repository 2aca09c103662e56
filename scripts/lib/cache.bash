# cache.bash: where downloaded and built peers live. Sourced, not run.

# cache_dir is outside the checkout, so that no peer's file is ever committed:
# $SOTTO_CACHE, else sotto below the user's cache directory.
cache_dir() { printf '%s\n' "${SOTTO_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sotto}"; }

# trixie_root is the Debian 13 tree that carries Murmur 1.5.
trixie_root() { printf '%s/trixie\n' "$(cache_dir)"; }
