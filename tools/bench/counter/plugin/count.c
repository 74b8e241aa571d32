// A plugin for QEMU's TCG that counts the instructions a guest executes, into
// a file that is shared with whoever reads it while the guest runs.
//
//	cc -O2 -fPIC -shared -o count.so count.c
//	qemu-system-x86_64 -plugin count.so,counts=PATH[,blocks=on] ...
//
// The file's layout is in counter.go. All counts are of whole translation
// blocks, added when a block is entered: one that a fault or an I/O access
// ends early is counted in full.
//
// Distributions ship QEMU without its plugin header, so the part of plugin API
// version 1 (QEMU 6.0 to 8.2, docs/devel/tcg-plugins.rst) that is used here is
// declared here.

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum qemu_plugin_op { QEMU_PLUGIN_INLINE_ADD_U64 };

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t,
	void (*)(qemu_plugin_id_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *,
	enum qemu_plugin_op, void *, uint64_t);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *);

#define EXPORT __attribute__((visibility("default")))

EXPORT int qemu_plugin_version = 1;

// Totals at the start of the file.
enum { INSTRUCTIONS, REPEATS, HALTS, PORTS, USED, TOTALS = 8 };

// Then, with blocks=on, one record for each block start and length.
#define BLOCKS (1u << 18)
struct block {
	uint64_t address;
	uint64_t instructions; // without repeated string instructions
	uint64_t entered;
	uint64_t repeats;
};

static uint64_t *totals;
static struct block *blocks; // a hash table with linear probing; NULL without blocks=on

enum kind { PLAIN, REPEAT, HALT, PORT };

// What matters of the instruction's opcode, behind its prefixes.
static enum kind classify(const uint8_t *p, size_t n)
{
	int rep = 0;
	for (; n > 0; p++, n--) {
		switch (*p) {
		case 0xf2: case 0xf3:
			rep = 1;
			continue;
		case 0x26: case 0x2e: case 0x36: case 0x3e: case 0x64: case 0x65: // segments
		case 0x66: case 0x67: case 0xf0:
			continue;
		}
		if (*p < 0x40 || *p > 0x4f) // REX; inc and dec of 32-bit code need no telling apart
			break;
	}
	if (n == 0)
		return PLAIN;
	switch (*p) {
	case 0xa4: case 0xa5: case 0xa6: case 0xa7: // movs, cmps
	case 0xaa: case 0xab: case 0xac: case 0xad: case 0xae: case 0xaf: // stos, lods, scas
		return rep ? REPEAT : PLAIN;
	case 0x6c: case 0x6d: case 0x6e: case 0x6f: // ins, outs
	case 0xe4: case 0xe5: case 0xe6: case 0xe7: case 0xec: case 0xed: case 0xee: case 0xef: // in, out
		return PORT;
	case 0xf4:
		return HALT;
	}
	return PLAIN;
}

// The record of a block; the last one is for all that found no room.
static struct block *record(uint64_t address, uint64_t instructions, uint64_t repeats)
{
	uint64_t h = (address * 0x9e3779b97f4a7c15u + instructions) >> 40;
	for (unsigned tries = 0; tries < 64; tries++, h++) {
		struct block *b = &blocks[h % (BLOCKS - 1)];
		if (b->address == 0) {
			b->address = address;
			b->instructions = instructions;
			b->repeats = repeats;
			totals[USED]++;
			return b;
		}
		if (b->address == address && b->instructions == instructions && b->repeats == repeats)
			return b;
	}
	blocks[BLOCKS - 1].instructions = 1;
	return &blocks[BLOCKS - 1];
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	uint64_t count[TOTALS] = {0};
	size_t n = qemu_plugin_tb_n_insns(tb);
	(void)id;
	count[INSTRUCTIONS] = n;
	for (size_t i = 0; i < n; i++) {
		const struct qemu_plugin_insn *in = qemu_plugin_tb_get_insn(tb, i);
		switch (classify(qemu_plugin_insn_data(in), qemu_plugin_insn_size(in))) {
		case REPEAT: count[REPEATS]++; break;
		case HALT: count[HALTS]++; break;
		case PORT: count[PORTS]++; break;
		case PLAIN: break;
		}
	}
	for (int i = 0; i < USED; i++)
		if (count[i])
			qemu_plugin_register_vcpu_tb_exec_inline(tb, QEMU_PLUGIN_INLINE_ADD_U64, &totals[i], count[i]);
	if (blocks) {
		struct block *b = record(qemu_plugin_tb_vaddr(tb), n - count[REPEATS], count[REPEATS]);
		qemu_plugin_register_vcpu_tb_exec_inline(tb, QEMU_PLUGIN_INLINE_ADD_U64, &b->entered, 1);
	}
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
	const char *path = NULL;
	int want_blocks = 0;
	(void)info;
	for (int i = 0; i < argc; i++) {
		if (strncmp(argv[i], "counts=", 7) == 0) {
			path = argv[i] + 7;
		} else if (strcmp(argv[i], "blocks=on") == 0) {
			want_blocks = 1;
		} else {
			fprintf(stderr, "count: unknown argument %s\n", argv[i]);
			return -1;
		}
	}
	if (!path) {
		fprintf(stderr, "count: counts=PATH is missing\n");
		return -1;
	}
	size_t size = TOTALS * sizeof *totals + (want_blocks ? BLOCKS * sizeof *blocks : 0);
	int fd = open(path, O_RDWR | O_CREAT, 0600);
	if (fd < 0 || ftruncate(fd, size) != 0) {
		perror(path);
		return -1;
	}
	void *m = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (m == MAP_FAILED) {
		perror(path);
		return -1;
	}
	totals = m;
	if (want_blocks)
		blocks = (struct block *)(totals + TOTALS);
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	return 0;
}
