# Thin: every target is a call of cargo or of the tool `grantflow`, whose --help says the rest.
# What is missing is installed as root, and otherwise named in one apt-get line.

CARGO ?= cargo
GRANTFLOW = $(CARGO) run --quiet --release --package grantflow --
ROUNDS ?= 5
PROPTEST_CASES ?= 20000
FUZZ_SECONDS ?= 3600
SEEDS ?= 8

# Unpacked, since the package would start a server.
PROMETHEUS = target/prometheus

CHROMIUM = target/chromium

.PHONY: help images demo lab test bench compare dist miri soak clean tools chromium

help:
	@echo 'make demo     recorded sensor data through four unikernels on a real Xen to a broker, every result checked'
	@echo 'make images   build the unikernel images into target/images'
	@echo 'make lab      a shell in dom0 of a Xen under QEMU, with the images at hand'
	@echo 'make test     every test: on the host, then in the lab'
	@echo 'make bench    vchan between two CPUs of this machine, beside libxenvchan and memcpy; readings between two processes'
	@echo '              every figure of every round: cargo bench -p bench --bench vchan -- --json (--help says what they are)'
	@echo 'make compare  unikernels beside Linux guests that do the same work, in the lab or this dom0: a report in target/compare;'
	@echo '              QUICK=1 for what the goals need, in minutes; ONLY=ID,ID for some contestants, measures or goals'
	@echo 'make dist     one archive with tool, images, recordings, sample configs and what compare runs, for a dom0 without Rust'
	@echo 'make miri     tests of vchan under Miri, where a nightly Rust has it: SEEDS=$(SEEDS)'
	@echo 'make soak     the same for hours: ROUNDS=$(ROUNDS) lab rounds, PROPTEST_CASES=$(PROPTEST_CASES), FUZZ_SECONDS=$(FUZZ_SECONDS)'
	@echo 'make clean    remove what was built (the lab cache: grantflow lab clean)'

images: tools
	$(GRANTFLOW) images

demo: images
	$(GRANTFLOW) demo --flow data/water-flow.csv --weather data/seattle-weather-hourly-normals.csv

lab: images
	$(GRANTFLOW) lab shell

test: tools chromium
	$(CARGO) test --workspace
	$(GRANTFLOW) images
	for file in image/pipelines/*.toml; do $(GRANTFLOW) check $$file || exit 1; done
	$(GRANTFLOW) lab test --out target/lab

bench: tools
	$(CARGO) bench --quiet --package bench --bench vchan
	$(GRANTFLOW) up --target process image/pipelines/throughput.toml

compare: images
	$(GRANTFLOW) compare $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY))

dist: images
	$(GRANTFLOW) dist

# What Miri can run and is quick enough for it: threads over memory made of atomics, in many orders, and the rest once. Its own
# folder, since another compiler builds for it.
MIRI = $(CARGO) +nightly miri test --quiet --package vchan --target-dir target/miri
miri:
	@if $(CARGO) +nightly miri --version >/dev/null 2>&1; then set -ex; \
	  MIRIFLAGS=-Zmiri-many-seeds=0..$(SEEDS) $(MIRI) --test threads; \
	  $(MIRI) --lib --test wire --test faults --test conformance -- \
	    --skip every_layout --skip each_kind_of_layout --skip indexes_wrap --skip streams_both_ways --skip messages_are_whole \
	    --skip threads_of_their_own; \
	else echo 'SKIPPED: Miri is not installed (rustup toolchain install nightly --component miri,rust-src)'; fi

soak: tools miri
	PROPTEST_CASES=$(PROPTEST_CASES) $(CARGO) test --profile soak --workspace
	if $(CARGO) fuzz --version >/dev/null 2>&1; then \
	  for folder in vchan unikernel; do \
	    for target in $$(cd $$folder && $(CARGO) fuzz list); do \
	      (cd $$folder && $(CARGO) fuzz run --sanitizer none $$target -- -max_total_time=$(FUZZ_SECONDS) -max_len=2000) || exit 1; \
	    done; \
	  done; \
	else echo 'SKIPPED: cargo-fuzz is not installed (cargo install cargo-fuzz)'; fi
	$(GRANTFLOW) images
	for round in $$(seq $(ROUNDS)); do echo "round $$round of $(ROUNDS)"; $(GRANTFLOW) lab test --soak --out target/lab || exit 1; done

clean:
	$(CARGO) clean

tools:
	@command -v $(CARGO) >/dev/null || { echo 'cargo is missing: install Rust from https://rustup.rs'; exit 1; }
	@missing=; \
	command -v cc >/dev/null || missing="$$missing gcc libc6-dev"; \
	command -v qemu-system-x86_64 >/dev/null || missing="$$missing qemu-system-x86"; \
	for program in mosquitto mosquitto_sub; do PATH="$$PATH:/usr/sbin" command -v $$program >/dev/null || missing="$$missing $$(echo $$program | sed s/_sub/-clients/)"; done; \
	[ -z "$$missing" ] && exit 0; \
	line="apt-get install -y --no-install-recommends$$missing"; \
	if [ "$$(id -u)" != 0 ]; then echo "missing; run as root: $$line"; exit 1; fi; \
	echo "missing: $$line"; \
	{ $$line || { apt-get update && $$line; }; } >/dev/null
	@{ command -v promtool && command -v prometheus; } >/dev/null || [ -x $(PROMETHEUS)/usr/bin/promtool ] || { \
	  echo 'missing: prometheus; unpacking it into $(PROMETHEUS)'; mkdir -p $(PROMETHEUS); cd $(PROMETHEUS); \
	  { apt-get download prometheus || { apt-get update && apt-get download prometheus; }; } >/dev/null 2>&1 && \
	  dpkg-deb -x prometheus_*.deb . && rm prometheus_*.deb; } || echo 'no prometheus: tests with it will be SKIPPED'

# What it takes beside it and is not installed is unpacked with it.
chromium:
	@{ command -v chromium-headless-shell || command -v chromium || [ -d $(CHROMIUM) ]; } >/dev/null || { \
	  echo 'missing: Chromium; unpacking it into $(CHROMIUM)'; rm -rf $(CHROMIUM).part; mkdir -p $(CHROMIUM).part; \
	  list() { apt-get install --simulate --no-install-recommends chromium-headless-shell | awk '/^Inst/ { print $$2 }'; }; \
	  fetch() { names=$$(list) && [ -n "$$names" ] && apt-get download $$names; }; \
	  (cd $(CHROMIUM).part && { fetch || { apt-get update && fetch; }; } >/dev/null 2>&1 && \
	    for file in *.deb; do dpkg-deb -x $$file . || exit 1; done && rm *.deb) && mv $(CHROMIUM).part $(CHROMIUM); } || \
	  echo 'no Chromium: tests of reports in it will be SKIPPED'
