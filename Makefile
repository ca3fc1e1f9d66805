# Handoff. `make help` says what there is. Non-recursive; a service is found by its folder.
#
# Variables: CC=gcc|clang, SANITIZE=1 (AddressSanitizer + UndefinedBehaviorSanitizer), V=1 (show commands)

CC := $(if $(filter default,$(origin CC)),gcc,$(CC))
SANITIZE ?=
VARIANT := $(notdir $(firstword $(CC)))$(if $(SANITIZE),-asan)
OUT := build/$(VARIANT)
Q := $(if $(V),,@)

SERVICES := $(patsubst services/%/main.c,%,$(wildcard services/*/main.c))
PACKAGES := libuv librabbitmq hiredis libpq libmicrohttpd libwebsockets jansson libjwt libcrypto libcurl cjose libqrencode libpng

SANITIZERS := -fsanitize=address,undefined
# Where tests let a process die (base/crash_point.h): never in what is released.
CRASH_POINTS := -DHANDOFF_CRASH_POINTS
CPPFLAGS := -D_GNU_SOURCE -I. $(shell pkg-config --cflags $(PACKAGES) 2>/dev/null)
WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wundef -Wformat=2 \
            -Wpointer-arith -Wcast-qual -Wwrite-strings -Werror
CFLAGS := -std=c17 -O2 -g $(WARNINGS) -fno-common -fstack-protector-strong \
          $(if $(SANITIZE),$(SANITIZERS) $(CRASH_POINTS) -O1 -fno-sanitize-recover=undefined -fno-omit-frame-pointer,-D_FORTIFY_SOURCE=2)
LDFLAGS := -Wl,--as-needed $(if $(SANITIZE),$(SANITIZERS))
LDLIBS := $(shell pkg-config --libs $(PACKAGES) 2>/dev/null) -lm

objects = $(patsubst %.c,$(OUT)/%.o,$(1))

BASE_O := $(call objects,$(wildcard base/*.c))
PROTO_O := $(call objects,$(wildcard proto/*.c))
COMMON_O := $(call objects,$(wildcard common/*.c)) $(OUT)/gen/scripts.o $(OUT)/gen/migrations.o
BINARIES := $(addprefix $(OUT)/bin/,$(SERVICES) handoff)
UNIT_TESTS := $(patsubst tests/unit/%.c,$(OUT)/unit/%,$(wildcard tests/unit/test_*.c))
INTEGRATION_TESTS := $(patsubst tests/integration/%.c,$(OUT)/integration/%,$(wildcard tests/integration/test_*.c))
CONTRACT_TOOLS := $(patsubst tests/contract/%.c,$(OUT)/contract/%,$(wildcard tests/contract/*.c))

.PHONY: all help
all: $(BINARIES) ## build the services and the command handoff (CC=clang, SANITIZE=1)

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(OUT)/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC    $<"
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

$(OUT)/gen/%.o: $(OUT)/gen/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

$(OUT)/gen/scripts.c: $(wildcard common/scripts/*.lua) tools/embed
	@mkdir -p $(@D)
	$(Q)tools/embed scripts $(sort $(filter %.lua,$^)) > $@

$(OUT)/gen/migrations.c: $(wildcard common/migrations/*.sql) tools/embed
	@mkdir -p $(@D)
	$(Q)tools/embed migrations $(sort $(filter %.sql,$^)) > $@

$(OUT)/gen/console.c: $(wildcard services/session_api/console/*) tools/embed
	@mkdir -p $(@D)
	$(Q)tools/embed console $(sort $(filter services/%,$^)) > $@

$(OUT)/gen/client.c: clients/js/dist/.built tools/embed
	@mkdir -p $(@D)
	$(Q)tools/embed client clients/js/dist/esm/*.js > $@

API_REFERENCE := $(wildcard tools/api-reference/*) $(wildcard proto/*.yaml proto/schemas/*.json proto/examples/*.json) \
    $(wildcard docs/errors/*.md docs/runbooks/*.md) services/session_api/console/icon.svg
$(OUT)/gen/docs.c: $(API_REFERENCE) tools/embed
	@mkdir -p $(@D)
	@echo "  DOCS  $(@D)/docs"
	@rm -rf $(@D)/docs
	$(Q)PYTHONDONTWRITEBYTECODE=1 python3 tools/api-reference $(@D)/docs
	$(Q)tools/embed -C $(@D)/docs docs $$(cd $(@D)/docs && find . -type f | sort | sed 's|^\./||') > $@

$(OUT)/libhandoff.a: $(BASE_O) $(PROTO_O) $(COMMON_O)
	@rm -f $@
	$(Q)ar rcs $@ $^

# What is made of a service's other files.
made_of_session_api := $(OUT)/gen/console.o $(OUT)/gen/client.o $(OUT)/gen/docs.o

define service_rule
$(OUT)/bin/$(1): $$(call objects,$$(wildcard services/$(1)/*.c)) $(made_of_$(1)) $(OUT)/libhandoff.a
	@mkdir -p $$(@D)
	@echo "  LINK  $$@"
	$(Q)$$(CC) $(LDFLAGS) $$^ $(LDLIBS) -o $$@
endef
$(foreach s,$(SERVICES),$(eval $(call service_rule,$(s))))

# The client for C. Compiled for a shared library, with what it takes of base/ and proto/; of all these names only those that
# handoff.h marks leave it: in the archive, too, where it is one object.
CLIENT_C := $(OUT)/client
CLIENT_C_LAYERS := $(addprefix base/,base64url.c buf.c hash.c random.c timestamp.c uuid.c) \
    $(addprefix proto/,canonical.c claim.c fault.c patch.c patch_document.c patch_read.c pointer.c session_device.c shortest.c text.c text_members.c text_quick.c)
CLIENT_C_O := $(patsubst %.c,$(CLIENT_C)/%.o,$(wildcard clients/c/src/*.c))
CLIENT_C_LAYERS_O := $(patsubst %.c,$(CLIENT_C)/%.o,$(CLIENT_C_LAYERS))
CLIENT_C_PACKAGES := libwebsockets libuv jansson libcrypto
CLIENT_C_LIBS := $(shell pkg-config --libs $(CLIENT_C_PACKAGES) 2>/dev/null) -lm
CLIENT_C_SONAME := libhandoff_client.so.0

$(CLIENT_C)/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC    $< (PIC)"
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -fPIC -fvisibility=hidden -MMD -MP -c $< -o $@

$(OUT)/libhandoff_client.a: $(CLIENT_C_O) $(CLIENT_C_LAYERS_O)
	@rm -f $@
	$(Q)$(CC) -r -nostdlib $^ -o $(CLIENT_C)/handoff_client.o
	$(Q)objcopy --localize-hidden $(CLIENT_C)/handoff_client.o
	$(Q)ar rcs $@ $(CLIENT_C)/handoff_client.o

$(OUT)/libhandoff_client.so: $(CLIENT_C_O) $(CLIENT_C_LAYERS_O)
	$(Q)$(CC) -shared -Wl,-soname,$(CLIENT_C_SONAME) $(if $(SANITIZE),,-Wl,-z,defs) $(LDFLAGS) $^ $(CLIENT_C_LIBS) -o $@
	$(Q)ln -sf $(@F) $(@D)/$(CLIENT_C_SONAME)

$(OUT)/handoff_client.pc: clients/c/handoff_client.pc.in common/version.h
	@mkdir -p $(@D)
	$(Q)sed "s|@VERSION@|$$(sed -n 's/.*HANDOFF_VERSION "\(.*\)"/\1/p' common/version.h)|" $< > $@

# The example is built as a stranger's program is: from the header and the library alone.
$(OUT)/clients/counter: clients/c/examples/counter.c clients/c/handoff.h $(OUT)/libhandoff_client.a
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) -Iclients/c $(LDFLAGS) $< $(OUT)/libhandoff_client.a $(CLIENT_C_LIBS) -o $@

# What the end-to-end tests drive: on the shared library.
$(OUT)/clients/device: tests/clients/device.c clients/c/handoff.h $(OUT)/libhandoff_client.so
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) -D_GNU_SOURCE -Iclients/c $(LDFLAGS) $< -L$(OUT) -lhandoff_client -Wl,-rpath,'$$ORIGIN/..' $(CLIENT_C_LIBS) -o $@

CLIENT_C_ALL := $(OUT)/libhandoff_client.a $(OUT)/libhandoff_client.so $(OUT)/handoff_client.pc $(OUT)/clients/counter

# The command for those who run it; what its unit tests (test_cli_<module>) take of it.
$(OUT)/handoff_parts.a: $(call objects,$(filter-out %/main.c,$(wildcard tools/handoff/*.c)))
	@rm -f $@
	$(Q)ar rcs $@ $^

$(OUT)/bin/handoff: $(call objects,$(wildcard tools/handoff/*.c)) $(OUT)/libhandoff.a $(OUT)/libhandoff_client.a
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	$(Q)$(CC) $(LDFLAGS) $^ $(LDLIBS) -o $@

# A unit test links the layers, and, where its name is test_<service>_<module>, that service's objects
# but main.o; test_client_c_<module>: the client's, from an archive, since a test that is the transport
# itself leaves that one out.
unit_service = $(firstword $(foreach s,$(SERVICES),$(if $(filter test_$(s)_%,$(1)),$(s))))
define unit_rule
$(OUT)/$(2)/$(1): $(OUT)/tests/$(2)/$(1).o $$(call objects,$$(filter-out %/main.c,$$(wildcard services/$(call unit_service,$(1))/*.c))) $(made_of_$(call unit_service,$(1))) $(if $(filter test_client_c_%,$(1)),$(CLIENT_C)/parts.a) $(if $(filter test_cli_%,$(1)),$(OUT)/handoff_parts.a) $(OUT)/libhandoff.a
	@mkdir -p $$(@D)
	$(Q)$$(CC) $(LDFLAGS) $$^ $(LDLIBS) -lcmocka -o $$@
endef
$(foreach t,$(notdir $(UNIT_TESTS)),$(eval $(call unit_rule,$(t),unit)))
$(CLIENT_C)/parts.a: $(CLIENT_C_O)
	@rm -f $@
	$(Q)ar rcs $@ $^
$(foreach t,$(notdir $(INTEGRATION_TESTS)),$(eval $(call unit_rule,$(t),integration)))

# Small programs that the contract tests drive.
$(OUT)/contract/%: $(OUT)/tests/contract/%.o $(OUT)/libhandoff.a
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS) $^ $(LDLIBS) -o $@

# What end-to-end tests load into the services.
$(OUT)/e2e/%.so: tests/e2e/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(filter-out $(SANITIZERS),$(CPPFLAGS) $(CFLAGS)) -fPIC -shared $< -o $@

# The benchmark's load generators, and its points of reference for the broker, for HTTP and for a fan-out.
BENCH := $(addprefix $(OUT)/bench/,load crowd_load deadline_load sessions_load slow_load rolling_load amqp_rpc amqp_events bare_send bare_http audit_publish)
bench_objects = $(call objects,$(patsubst %,tests/bench/%.c,$(1)))
$(OUT)/bench/load: $(call bench_objects,load orders phase http_client watcher frames sockets samples)
$(OUT)/bench/crowd_load: $(call bench_objects,crowd_load orders crowd_phase crowd_run crowd_spread crowd writer http_client frames sockets samples)
$(OUT)/bench/deadline_load: $(call bench_objects,deadline_load deadlines orders watcher writer http_client frames sockets samples)
$(OUT)/bench/sessions_load: $(call bench_objects,sessions_load sessions orders writer http_client sockets samples)
$(OUT)/bench/slow_load: $(call bench_objects,slow_load orders sockets samples)
$(OUT)/bench/rolling_load: $(call bench_objects,rolling_load rolling rolling_member orders writer http_client frames sockets samples)
$(OUT)/bench/amqp_rpc: $(call bench_objects,amqp_rpc sockets samples)
$(OUT)/bench/amqp_events: $(call bench_objects,amqp_events sockets samples)
$(OUT)/bench/bare_send: $(call bench_objects,bare_send sockets samples)
$(OUT)/bench/audit_publish: $(call bench_objects,audit_publish sockets samples)
$(OUT)/bench/bare_http: $(call bench_objects,bare_http sockets samples)
$(BENCH): $(OUT)/libhandoff.a
$(BENCH):
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	$(Q)$(CC) $(LDFLAGS) $^ $(LDLIBS) -o $@

# Fuzz targets need clang's libFuzzer; they and all they link are built with it, in a folder of their own. A second
# build, without sanitizers, counts which lines a target comes to (make fuzz-coverage).
FUZZ := build/fuzz
FUZZ_CHECKS := -fsanitize=address,undefined,float-cast-overflow -fno-sanitize-recover=undefined,float-cast-overflow
FUZZ_FLAGS = -std=c17 -O1 -g $(WARNINGS) -fsanitize=fuzzer-no-link $(FUZZ_CHECKS)
FUZZ_TARGETS := $(patsubst tests/fuzz/%.c,$(FUZZ)/%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_SECONDS ?= 30

fuzz_objects = $(patsubst %.c,$(FUZZ)/obj/%.o,$(1))
FUZZ_LAYERS := $(wildcard base/*.c proto/*.c common/*.c clients/c/src/*.c services/*/*.c tools/handoff/*.c)
FUZZ_LAYERS := $(call fuzz_objects,$(filter-out %/main.c,$(FUZZ_LAYERS)))
FUZZ_GEN := $(patsubst %,$(FUZZ)/obj/%.o,scripts migrations)
# Where two services have a function of the same name, the one of these is called by another here.
$(FUZZ)/obj/services/state_engine/%.o: FUZZ_NAMES = $(foreach name,change_done presence_new presence_free,-D$(name)=engine_$(name))
$(FUZZ)/obj/services/ws_fanout/%.o: FUZZ_NAMES = -Dlimits_init=fanout_limits_init

$(FUZZ)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(Q)clang $(CPPFLAGS) $(FUZZ_FLAGS) $(FUZZ_NAMES) -MMD -MP -c $< -o $@

$(FUZZ)/libfuzzed.a: $(FUZZ_LAYERS) $(FUZZ_GEN)
	@rm -f $@
	$(Q)ar qcs $@ $^

.SECONDARY: $(FUZZ_TARGETS:$(FUZZ)/%=$(FUZZ)/obj/tests/fuzz/%.o)

$(FUZZ_GEN): $(FUZZ)/obj/%.o: build/gcc/gen/%.c
	@mkdir -p $(@D)
	$(Q)clang $(CPPFLAGS) $(FUZZ_FLAGS) -c $< -o $@

$(FUZZ)/fuzz_%: $(FUZZ)/obj/tests/fuzz/fuzz_%.o $(FUZZ)/libfuzzed.a
	@echo "  LINK  $@"
	$(Q)clang -fsanitize=fuzzer $(FUZZ_CHECKS) -Wl,--as-needed $^ $(LDLIBS) -o $@

# All that may be fuzzed, in a program that nobody runs: what llvm-cov is told the sources by.
$(FUZZ)/everything: $(FUZZ)/libfuzzed.a
	$(Q)echo 'int main(void) { return 0; }' > $@.c
	$(Q)clang $(FUZZ_FLAGS) -Wl,--unresolved-symbols=ignore-all $@.c -Wl,--whole-archive $< -Wl,--no-whole-archive -o $@

# The clients for browsers and Node, compiled by TypeScript.
CLIENT_JS := clients/js/dist/.built clients/react/dist/.built
clients/%/dist/.built: clients/%/build.sh clients/%/tsconfig.json
	@echo "  TSC   clients/$*"
	$(Q)sh clients/$*/build.sh
	@touch $@
clients/js/dist/.built: $(wildcard clients/js/src/*.ts)
clients/react/dist/.built: $(wildcard clients/react/src/*.ts) clients/js/dist/.built

# What tests take from npm, as its lock file says: what drives Chromium, a client of RabbitMQ, and the schemas of Kubernetes.
NPM := $(patsubst %/package.json,%/node_modules/.ready,$(wildcard tests/browser/package.json tests/consume/package.json tests/kubernetes/package.json))
%/node_modules/.ready: %/package.json %/package-lock.json
	@echo "  NPM   $*"
	$(Q)cd $* && npm ci --ignore-scripts --prefer-offline --loglevel=error >/dev/null
	@touch $@

.PHONY: client-js client-c install install-tests test quick-test asan fuzz fuzz-coverage fuzz-targets test-programs bench-programs run demo token check bench chaos crash-points mutants clean
PYTHON := PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3

install:
	@compose/local/install
install-tests:
	@compose/local/install tests/packages.txt

client-js: $(CLIENT_JS) ## compile the clients for browsers and Node (clients/js, clients/react)
client-c: $(CLIENT_C_ALL) ## build the client for C (clients/c): libhandoff_client.a, .so, handoff_client.pc, the example
test-programs: all $(UNIT_TESTS) $(INTEGRATION_TESTS) $(CONTRACT_TOOLS) $(CLIENT_C_ALL) $(OUT)/clients/device $(OUT)/e2e/names.so $(OUT)/bench/rolling_load $(CLIENT_JS) $(NPM)
bench-programs: $(BENCH)
fuzz-targets: $(FUZZ_TARGETS)

# Each step in a make of its own: what the first installs, the next ones' pkg-config has to see.
INSTANCES ?= 1
run: install ## start everything here, privately, in the foreground (INSTANCES=2: two of each)
	@$(MAKE) --no-print-directory all
	@exec env $(PYTHON) compose/local/run.py --binaries $(OUT)/bin --instances $(INSTANCES)

test: install-tests ## every test; the last line says how many passed and failed
	@tests/all

quick-test: ## unit, contract and end-to-end tests of one build
	@$(MAKE) --no-print-directory test-programs
	@$(PYTHON) tests/run.py --build $(OUT) unit integration contract e2e

asan: install-tests ## the same suites under AddressSanitizer and UndefinedBehaviorSanitizer
	@$(MAKE) --no-print-directory SANITIZE=1 quick-test

fuzz: install-tests ## each fuzz target for FUZZ_SECONDS (30)
	@$(MAKE) --no-print-directory fuzz-targets
	@for t in $(FUZZ_TARGETS); do tests/fuzz/run $$t $(FUZZ_SECONDS) || exit 1; done

COVERED := FUZZ=build/fuzz-coverage FUZZ_CHECKS='-fprofile-instr-generate -fcoverage-mapping'
fuzz-coverage: install-tests ## which lines of the decoders the fuzz targets come to; fails under 95 % (MISSED=1: shows the others)
	@$(MAKE) --no-print-directory build/gcc/gen/scripts.c build/gcc/gen/migrations.c
	@$(MAKE) --no-print-directory $(COVERED) fuzz-targets build/fuzz-coverage/everything
	@$(PYTHON) tests/fuzz/coverage.py build/fuzz-coverage $(if $(MISSED),--missed)

demo: install ## two devices, the whole handoff, as a timeline in milliseconds (CLOCK=1: a game of chess)
	@$(MAKE) --no-print-directory all
	@$(PYTHON) compose/local/demo.py --binaries $(OUT)/bin $(if $(CLOCK),--clock)

# For the client library, TypeScript. HOST from the command line only: some shells have a HOST in their environment.
HOST_OPTION = $(if $(filter command,$(origin HOST)),--host '$(HOST)')
.PHONY: dev qr examples
dev: ## as run, for who writes an app: console, token, QR code, examples (INSTANCES=2, HOST=192.168.1.5: for phones)
	@compose/local/install
	@$(MAKE) --no-print-directory -j$$(nproc) all clients/js/dist/.built
	@exec env $(PYTHON) compose/local/run.py --binaries $(OUT)/bin --instances $(INSTANCES) --dev $(HOST_OPTION)

qr: ## another QR code of the session that make dev began
	@$(PYTHON) compose/local/dev.py

examples: ## the examples alone, at http://localhost:8090, for a stack that make run began
	@compose/local/install
	@$(MAKE) --no-print-directory clients/js/dist/.built
	@$(PYTHON) compose/local/examples.py

token: ## a token of the local stack: make token USER=alice (DEVICE=phone, SCOPE="sessions:read sessions:admin")
	@$(PYTHON) compose/local/make_token.py '$(USER)' '$(DEVICE)' '$(SCOPE)'

check: install-tests ## format, clang-tidy, cppcheck, gcc -fanalyzer, shellcheck, pyflakes, the specification
	@tests/check

.PHONY: flags
flags:
	@echo $(CPPFLAGS) -Iclients/c -std=c17

PEERS ?=
bench: install-tests ## measure; see tests/bench/README.md (PEERS=1: beside what else one might use; SCALE=1: as the work grows)
	@$(if $(PEERS),compose/local/install tests/bench/packages.txt)
	@$(MAKE) --no-print-directory all bench-programs
	@$(if $(PEERS),HANDOFF_BUILD=$(OUT) $(PYTHON) -m pytest -q --tb=short -p no:cacheprovider tests/bench/test_peers.py)
	@$(PYTHON) tests/bench/run.py --binaries $(OUT)/bin $(if $(PEERS),--peers) $(if $(SCALE),--scale)

MEMBERS ?= 10000
PROXY ?= haproxy
.PHONY: rolling-restart
rolling-restart: install-tests ## restart every service in turn under MEMBERS WebSockets and writes, and reload the PROXY (haproxy, nginx, caddy); nothing may be lost
	@$(MAKE) --no-print-directory all $(OUT)/bench/rolling_load
	@HANDOFF_BUILD=$(OUT) $(PYTHON) tests/bench/rolling.py --program $(OUT)/bench/rolling_load --members $(MEMBERS) --proxy $(PROXY)

FROM ?=
.PHONY: mixed-versions
mixed-versions: install-tests ## this tree beside an older version (FROM=a commit, else the newest release), there and back under load
	@$(MAKE) --no-print-directory all
	@HANDOFF_BUILD=$(OUT) $(PYTHON) tests/versions/mixed.py $(if $(FROM),--from $(FROM)) $(MIXED)

# From what git knows of, as it is now.
DEB := build/deb
.PHONY: deb deb-check
deb: ## a Debian package, in build/deb; lintian has nothing to say against it
	@compose/local/install compose/debian/packages.txt
	@rm -rf $(DEB) && mkdir -p $(DEB)/handoff
	@git ls-files -z | tar --null -T - -c | tar -x -C $(DEB)/handoff
	@cp -r compose/debian $(DEB)/handoff/debian
	@cd $(DEB)/handoff && env -u MAKEFLAGS -u MAKELEVEL dpkg-buildpackage -us -uc -b -j$$(nproc)
	@lintian --fail-on error,warning $(DEB)/*.changes

deb-check: deb ## that package on a fresh Debian, booted: the how-to to the letter, reload, kill, stop, reboot, purge (as root; some minutes)
	@compose/local/install tests/deb/packages.txt
	@$(PYTHON) -m pytest -q -x --tb=short -p no:cacheprovider tests/deb

ONLY ?=
.PHONY: images-check
images-check: ## build the images and look at them, then bring up compose.yaml with them and use it; as root, minutes (ONLY=images|compose)
	@compose/local/install tests/packages.txt tests/images/packages.txt
	@$(PYTHON) tests/images/run.py $(if $(ONLY),--only $(ONLY))

MINUTES ?= 5
chaos: install-tests ## break everything under load, and judge what was seen (SEED=…, MINUTES=5)
	@$(MAKE) --no-print-directory all
	@HANDOFF_BUILD=$(OUT) $(PYTHON) tests/chaos/run.py $(if $(SEED),--seed $(SEED)) --minutes $(MINUTES) $(CHAOS)

crash-points: install-tests ## die, fail and stand still (20 s) at every step between receive and acknowledge
	@$(MAKE) --no-print-directory SANITIZE=1 all
	@HANDOFF_TEST_CRASH_POINTS=all HANDOFF_BUILD=build/$(notdir $(firstword $(CC)))-asan $(PYTHON) -m pytest -q -s -p no:cacheprovider tests/e2e/test_crash_points.py

mutants: install-tests ## seed known protocol bugs, one at a time, and show that the tests find each (MUTANTS="--only ack")
	@$(MAKE) --no-print-directory test-programs
	@$(PYTHON) tests/mutants/run.py --build $(OUT) $(MUTANTS)

clean: ## remove what was built (data of make run stays in .run/)
	rm -rf build

-include $(shell find $(OUT) $(FUZZ) -name '*.d' 2>/dev/null)
