# The two commands of the README under their usual names.
.PHONY: build test demo bench
build:
	CGO_ENABLED=0 go build -trimpath ./cmd/sotto
test:
	scripts/test
demo:
	scripts/demo
bench:
	scripts/bench
