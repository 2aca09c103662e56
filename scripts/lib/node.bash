# node.bash: Node 20 and npm, which the MLS peer wants and Debian 12 does not
# have: its own is 18. Sourced after apt.bash and cache.bash, not run.

# node_dir is where ours lies if the system's is missing or too old. The test
# interop/tsmls looks there by itself.
node_dir() { printf '%s/node\n' "$(cache_dir)"; }

# good_node NODE reports whether that is Node 20 or later, in its own words.
good_node() { "$1" --eval 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2>/dev/null; }

# install_node makes sure of both. npm comes from Debian, with a Node that is
# enough for npm itself; the Node for the peer comes from the npm registry.
install_node() {
	command -v npm >/dev/null || install_packages nodejs npm
	if good_node node || good_node "$(node_dir)/node_modules/.bin/node"; then
		say "node: there"
		return 0
	fi
	say "node: 20 into $(node_dir)"
	mkdir -p "$(node_dir)"
	# Its install script is what fetches the program for this kind of machine.
	retry 3 npm install --prefix "$(node_dir)" --ignore-scripts=false --no-audit --no-fund --no-save --loglevel=error node@20 >&2 ||
		die "cannot install node@20 with npm"
	good_node "$(node_dir)/node_modules/.bin/node" || die "node@20 does not run on this machine"
}
