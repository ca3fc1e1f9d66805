# Handoff. `make help` says what there is. Non-recursive; a service is found by its folder.
#
# Variables: CC=gcc|clang, SANITIZE=1 (AddressSanitizer + UndefinedBehaviorSanitizer), V=1 (show commands)

CC := $(if $(filter default,$(origin CC)),gcc,$(CC))
SANITIZE ?=
VARIANT := $(notdir $(firstword $(CC)))$(if $(SANITIZE),-asan)
OUT := build/$(VARIANT)
Q := $(if $(V),,@)

SERVICES := $(patsubst services/%/main.c,%,$(wildcard services/*/main.c))
PACKAGES := libuv librabbitmq hiredis libpq libmicrohttpd libwebsockets jansson libjwt libcrypto

CPPFLAGS := -D_GNU_SOURCE -I. $(shell pkg-config --cflags $(PACKAGES) 2>/dev/null)
WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wundef -Wformat=2 \
            -Wpointer-arith -Wcast-qual -Wwrite-strings -Werror
CFLAGS := -std=c17 -O2 -g $(WARNINGS) -fno-common -fstack-protector-strong \
          $(if $(SANITIZE),-O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer,-D_FORTIFY_SOURCE=2)
LDFLAGS := -Wl,--as-needed $(if $(SANITIZE),-fsanitize=address,undefined)
LDLIBS := $(shell pkg-config --libs $(PACKAGES) 2>/dev/null) -lm

objects = $(patsubst %.c,$(OUT)/%.o,$(1))

BASE_O := $(call objects,$(wildcard base/*.c))
PROTO_O := $(call objects,$(wildcard proto/*.c))
COMMON_O := $(call objects,$(wildcard common/*.c)) $(OUT)/gen/scripts.o
BINARIES := $(addprefix $(OUT)/bin/,$(SERVICES))
UNIT_TESTS := $(patsubst tests/unit/%.c,$(OUT)/unit/%,$(wildcard tests/unit/test_*.c))

.PHONY: all help
all: $(BINARIES) ## build the services (CC=clang, SANITIZE=1)

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

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

$(OUT)/gen/migrations.c: $(wildcard services/audit_writer/migrations/*.sql) tools/embed
	@mkdir -p $(@D)
	$(Q)tools/embed migrations $(sort $(filter %.sql,$^)) > $@

$(OUT)/libhandoff.a: $(BASE_O) $(PROTO_O) $(COMMON_O)
	@rm -f $@
	$(Q)ar rcs $@ $^
# For tests of the pure layers: what needs no library but jansson and libcrypto.
$(OUT)/libproto.a: $(BASE_O) $(PROTO_O)
	@rm -f $@
	$(Q)ar rcs $@ $^

define service_rule
$(OUT)/bin/$(1): $$(call objects,$$(wildcard services/$(1)/*.c)) $(if $(filter audit_writer,$(1)),$(OUT)/gen/migrations.o) $(OUT)/libhandoff.a
	@mkdir -p $$(@D)
	@echo "  LINK  $$@"
	$(Q)$$(CC) $(LDFLAGS) $$^ $(LDLIBS) -o $$@
endef
$(foreach s,$(SERVICES),$(eval $(call service_rule,$(s))))

# A unit test links the layers, and, where its name is test_<service>_<module>, that service's objects
# but main.o.
unit_service = $(firstword $(foreach s,$(SERVICES),$(if $(filter test_$(s)_%,$(1)),$(s))))
define unit_rule
$(OUT)/unit/$(1): $(OUT)/tests/unit/$(1).o $$(call objects,$$(filter-out %/main.c,$$(wildcard services/$(call unit_service,$(1))/*.c))) $(if $(filter audit_writer,$(call unit_service,$(1))),$(OUT)/gen/migrations.o) $(OUT)/libhandoff.a
	@mkdir -p $$(@D)
	$(Q)$$(CC) $(LDFLAGS) $$^ $(LDLIBS) -lcmocka -o $$@
endef
$(foreach t,$(notdir $(UNIT_TESTS)),$(eval $(call unit_rule,$(t))))

-include $(shell find $(OUT) -name '*.d' 2>/dev/null)
