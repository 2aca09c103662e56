# apt.bash: installing Debian packages without surprises. Sourced, not run.
#
# Three things go wrong when apt runs by itself in a sandbox: a download fails
# once, a dialog waits for somebody, or a freshly unpacked daemon is started on
# its public port. The functions here answer each: bounded repetition, the
# non-interactive front end, and a policy that forbids starting services for
# exactly as long as the installation takes.

# say prints progress to standard error; standard output is for results.
say() { printf '%s\n' "$*" >&2; }

# die ends the script with a plain sentence.
die() { say "error: $*"; exit 1; }

# as_root runs a command as root, through sudo if need be.
as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo -- "$@"
	else
		die "this needs root: run it as root or install sudo"
	fi
}

# retry COUNT COMMAND... repeats a command that may fail for a moment, with a
# growing pause between the attempts (2, 4, 8 ... seconds).
retry() {
	local left=$1 pause=2
	shift
	until "$@"; do
		left=$((left - 1))
		[ "$left" -gt 0 ] || return 1
		say "failed, next attempt in ${pause}s: $1"
		sleep "$pause"
		pause=$((pause * 2))
	done
}

# missing_packages prints those of its arguments that are not installed.
missing_packages() {
	local p
	for p in "$@"; do
		[ "$(dpkg-query -W -f '${Status}' "$p" 2>/dev/null)" = "install ok installed" ] || printf '%s\n' "$p"
	done
}

# forbid_services ROOT lays down a policy-rc.d answering 101 (action forbidden
# by policy, see invoke-rc.d(8)) in the system at ROOT ("" is this machine).
# What was there before is kept aside; allow_services puts it back.
forbid_services() {
	local f=$1/usr/sbin/policy-rc.d
	allow_services "$1" # an interrupted run may have left its own behind
	if [ -e "$f" ] || [ -L "$f" ]; then
		as_root mv -- "$f" "$f.before-sotto"
	fi
	printf '#!/bin/sh\n# laid down by sotto, gone when its installation ends\nexit 101\n' | as_root tee "$f" >/dev/null
	as_root chmod 755 "$f"
}

# allow_services ROOT undoes forbid_services. It may be called twice.
allow_services() {
	local f=$1/usr/sbin/policy-rc.d
	if grep -qs 'laid down by sotto' "$f"; then
		as_root rm -f -- "$f"
	fi
	if [ -e "$f.before-sotto" ] || [ -L "$f.before-sotto" ]; then
		as_root mv -- "$f.before-sotto" "$f"
	fi
}

# apt_get runs apt-get here, without questions and with patience for the
# network and for another apt that holds the lock.
apt_get() {
	as_root env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 apt-get -q -y \
		-o Acquire::Retries=3 -o Acquire::http::Timeout=30 -o DPkg::Lock::Timeout=300 \
		-o Dpkg::Options::=--force-confold "$@" >&2
}

# install_packages installs the named packages, if any are missing.
install_packages() {
	local want
	mapfile -t want < <(missing_packages "$@")
	if [ "${#want[@]}" -eq 0 ]; then
		say "packages: all here"
		return 0
	fi
	say "packages to install: ${want[*]}"
	(
		trap 'allow_services ""' EXIT
		trap 'exit 130' INT TERM
		forbid_services ""
		# A third-party source that does not answer must not keep us from
		# Debian's packages: the install below decides.
		retry 3 apt_get update || say "package lists are not complete, trying all the same"
		retry 3 apt_get install --no-install-recommends "${want[@]}"
	) || die "cannot install: ${want[*]}"
}

# debian_mirror prints the address this machine itself gets Debian from, so
# that a closed network with its own mirror works without being told.
debian_mirror() {
	local codename
	codename=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")
	apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
		awk -v c="$codename" '$2 == c && $3 == "main" && $1 ~ /^https?:/ { print $1; exit }'
}
