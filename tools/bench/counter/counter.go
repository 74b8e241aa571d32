// Package counter counts the instructions that a guest executes under QEMU's
// TCG, by a plugin that it compiles from its own source, and reads the counts
// while the guest runs.
package counter

import (
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"
)

//go:embed plugin/count.c
var source []byte

// The file's layout, as in plugin/count.c: eight totals, then blocks records
// of four words.
const (
	totals = 8
	blocks = 1 << 18
	record = 4
)

// Counts are totals since QEMU's start, firmware included.
type Counts struct {
	Instructions uint64 // each iteration of a repeated string instruction is one
	Repeats      uint64 // of those, iterations
	Halts        uint64
	Ports        uint64 // port accesses, each an exit under a real hypervisor
}

// Plain leaves out the iterations of repeated string instructions, which
// hardware does many at a time: the figure to compare.
func (c Counts) Plain() uint64 { return c.Instructions - c.Repeats }

// Sub is what was counted since before.
func (c Counts) Sub(before Counts) Counts {
	return Counts{c.Instructions - before.Instructions, c.Repeats - before.Repeats,
		c.Halts - before.Halts, c.Ports - before.Ports}
}

// Block is one translation block: straight-line code at an address.
type Block struct {
	Address      uint64 // 0: blocks for which there was no room
	Instructions uint64 // of the block, without repeated ones
	Repeats      uint64 // repeated string instructions of the block
	Entered      uint64
}

// Plugin is the compiled plugin.
type Plugin struct {
	dir string
}

// Build compiles the plugin into a new temporary folder.
func Build() (*Plugin, error) {
	dir, err := os.MkdirTemp("", "ampoule-count-")
	if err != nil {
		return nil, err
	}
	p := &Plugin{dir}
	if err := os.WriteFile(filepath.Join(dir, "count.c"), source, 0o600); err != nil {
		p.Close()
		return nil, err
	}
	cmd := exec.Command("gcc", "-O2", "-fPIC", "-shared", "-Wall", "-Wextra", "-o", "count.so", "count.c")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		p.Close()
		return nil, fmt.Errorf("counter: compile the plugin (make setup installs gcc): %w\n%s", err, out)
	}
	return p, nil
}

// Close removes the plugin and the counts of counters not yet closed.
func (p *Plugin) Close() error { return os.RemoveAll(p.dir) }

// Counter is the counts of one VM.
type Counter struct {
	path   string
	plugin string
	blocks bool
	mem    []byte
}

// New makes a counter for a VM that is about to be started with Args. With
// withBlocks it counts block by block as well.
func (p *Plugin) New(withBlocks bool) (*Counter, error) {
	f, err := os.CreateTemp(p.dir, "counts-")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size := totals * 8
	if withBlocks {
		size += blocks * record * 8
	}
	if err := f.Truncate(int64(size)); err != nil {
		return nil, err
	}
	mem, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("counter: %w", err)
	}
	return &Counter{path: f.Name(), plugin: filepath.Join(p.dir, "count.so"), blocks: withBlocks, mem: mem}, nil
}

// Args are QEMU's arguments.
func (c *Counter) Args() []string {
	s := c.plugin + ",counts=" + c.path
	if c.blocks {
		s += ",blocks=on"
	}
	return []string{"-plugin", s}
}

func (c *Counter) word(i int) uint64 { return binary.NativeEndian.Uint64(c.mem[i*8:]) }

// Read returns the counts at this moment.
func (c *Counter) Read() Counts {
	return Counts{c.word(0), c.word(1), c.word(2), c.word(3)}
}

// Blocks returns the blocks that were entered so far, by address and length.
func (c *Counter) Blocks() (map[Block]uint64, error) {
	if !c.blocks {
		return nil, errors.New("counter: blocks are not counted")
	}
	out := map[Block]uint64{}
	for i := range blocks {
		at := totals + i*record
		if n := c.word(at + 2); n > 0 {
			out[Block{Address: c.word(at), Instructions: c.word(at + 1), Repeats: c.word(at + 3)}] += n
		}
	}
	return out, nil
}

// Since returns the blocks entered between two calls of Blocks.
func Since(before, after map[Block]uint64) []Block {
	var out []Block
	for b, n := range after {
		if n -= before[b]; n > 0 {
			b.Entered = n
			out = append(out, b)
		}
	}
	return out
}

// Close unmaps the counts.
func (c *Counter) Close() error {
	return errors.Join(unix.Munmap(c.mem), os.Remove(c.path))
}
