# Fuzzers of the agent's parsers, with libFuzzer and sanitizers; included by tests/agent/Makefile,
# which knows the modules that belong together.  `make fuzzers` builds them.

CLANG ?= clang-14
OBJCOPY ?= objcopy
FUZZ = ../fuzz/agent
FUZZ_FLAGS = -std=gnu11 -D_GNU_SOURCE -O1 -g -w -fno-pic -fno-data-sections \
	-iquote $(AGENT) -iquote . -iquote $(BUILD) \
	-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all

fuzzers: $(BUILD)/fuzz_frame $(BUILD)/fuzz_request

$(BUILD)/fuzz_frame: $(FUZZ)/fuzz_frame.c $(AGENT)/frame.c $(AGENT)/frame.h
	@mkdir -p $(BUILD)
	$(CLANG) $(FUZZ_FLAGS) -fsanitize=fuzzer -no-pie -o $@ $(filter %.c,$^)

# What the agent calls things, as strings of C.
$(BUILD)/words.h: $(wildcard $(AGENT)/*.c)
	@mkdir -p $(BUILD)
	grep -oh '"[a-zA-Z_.]\{2,24\}"' $(AGENT)/*.c | sort -u | sed 's/"\(.*\)"/    "\\"\1\\"",/' | \
		{ echo 'static const char *const words[] = {'; cat; echo '};'; } > $@

# The variables of all modules in two sections of their own: each input meets them as new.
$(BUILD)/fuzz_agent.o: $(addprefix $(AGENT)/,$(addsuffix .c,$(request))) fakes.c \
		$(wildcard $(AGENT)/*.h) fakes.h check.h $(FUZZ)/rules.mk
	@mkdir -p $(BUILD)/fuzz
	cd $(BUILD)/fuzz && rm -f *.o && $(CLANG) $(FUZZ_FLAGS) -iquote $(abspath $(AGENT)) \
		-iquote $(CURDIR) -c $(abspath $(filter $(AGENT)/%,$(filter %.c,$^)))
	$(CLANG) $(FUZZ_FLAGS) -Dchannel_send_surely=fake_send_surely -c -o $(BUILD)/fuzz/fakes.o fakes.c
	ld -r -o $@ $(BUILD)/fuzz/*.o
	$(OBJCOPY) --rename-section .data=agent_data --rename-section .bss=agent_bss $@

$(BUILD)/fuzz_request: $(FUZZ)/fuzz_request.c $(FUZZ)/mutate.c $(BUILD)/fuzz_agent.o \
		$(BUILD)/words.h
	$(CLANG) $(FUZZ_FLAGS) -fsanitize=fuzzer -no-pie -Wl,--wrap=fork -o $@ \
		$(filter %.c,$^) $(BUILD)/fuzz_agent.o -ljansson

.PHONY: fuzzers
