package dom0

import (
	"bytes"
	"compress/gzip"
	"context"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// modules are what dom0 loads; what they depend on comes before them.
var modules = []string{"xen-evtchn", "xen-privcmd", "xen-gntdev", "xenfs", "bridge", "xen-netback", "xen-blkback", "loop", "e1000"}

// moduleFolders are where those and their dependencies live.
var moduleFolders = []string{"drivers/xen/", "net/llc/", "net/802/", "net/bridge/",
	"drivers/net/xen-netback/", "drivers/net/ethernet/intel/e1000/",
	"drivers/block/xen-blkback/", "drivers/block/loop"}

// decompress undoes gzip, xz or zstd, whichever the first bytes tell. What
// follows the compressed stream is ignored: a bzImage has its size there. With
// none of them the data is returned as it is.
func decompress(ctx context.Context, data []byte) ([]byte, error) {
	switch {
	case bytes.HasPrefix(data, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(bytes.NewReader(data))
		if err != nil {
			return nil, err
		}
		z.Multistream(false)
		return io.ReadAll(z)
	case bytes.HasPrefix(data, []byte("\xfd7zXZ\x00")):
		return filter(ctx, data, "xz", "-dc", "--single-stream")
	case bytes.HasPrefix(data, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return filter(ctx, data, "zstd", "-dc")
	}
	return data, nil
}

func filter(ctx context.Context, data []byte, name string, args ...string) ([]byte, error) {
	if _, err := exec.LookPath(name); err != nil {
		return nil, fmt.Errorf("%s is not installed: run make setup", name)
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = bytes.NewReader(data)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(stderr.String()))
	}
	return out, nil
}

// vmlinux takes the kernel proper out of a bzImage, since Xen would decompress
// it under emulation at every boot. The offsets are those of the Linux boot
// protocol 2.08 (Documentation/arch/x86/boot.rst).
func vmlinux(ctx context.Context, image []byte) ([]byte, error) {
	const setupSects, magic, payloadOffset, payloadLength, end = 0x1f1, 0x202, 0x248, 0x24c, 0x250
	if len(image) < end || string(image[magic:magic+4]) != "HdrS" {
		return nil, errors.New("not a bzImage")
	}
	start := (int(image[setupSects])+1)*512 + int(binary.LittleEndian.Uint32(image[payloadOffset:]))
	n := int(binary.LittleEndian.Uint32(image[payloadLength:]))
	if start > len(image) || n > len(image)-start {
		return nil, fmt.Errorf("bzImage: payload of %d bytes at %d of %d", n, start, len(image))
	}
	out, err := decompress(ctx, image[start:start+n])
	if err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(out, []byte(elf.ELFMAG)) {
		return nil, errors.New("bzImage: the payload is no ELF file")
	}
	return out, nil
}

// kernelModule is one file to load.
type kernelModule struct {
	name string
	data []byte
}

// loadOrder reads the modules that are wanted from the tree below dir
// (lib/modules/VERSION/kernel), each behind those that it depends on.
func loadOrder(ctx context.Context, dir string, wanted []string) ([]kernelModule, error) {
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if name, _, ok := strings.Cut(d.Name(), ".ko"); err == nil && ok {
			files[canonical(name)] = p
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	var order []kernelModule
	done := map[string]bool{}
	var add func(name string) error
	add = func(name string) error {
		name = canonical(name)
		if name == "" || done[name] {
			return nil
		}
		done[name] = true
		p, ok := files[name]
		if !ok {
			return fmt.Errorf("the kernel package has no module %s where it is looked for", name)
		}
		raw, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		data, err := decompress(ctx, raw)
		if err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		deps, err := depends(data)
		if err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		for _, d := range deps {
			if err := add(d); err != nil {
				return fmt.Errorf("%s needs: %w", name, err)
			}
		}
		order = append(order, kernelModule{name, data})
		return nil
	}
	for _, m := range wanted {
		if err := add(m); err != nil {
			return nil, err
		}
	}
	return order, nil
}

// canonical is a module's name as the kernel writes it.
func canonical(name string) string { return strings.ReplaceAll(name, "-", "_") }

// depends reads the line depends= of a module's .modinfo section.
func depends(module []byte) ([]string, error) {
	f, err := elf.NewFile(bytes.NewReader(module))
	if err != nil {
		return nil, err
	}
	s := f.Section(".modinfo")
	if s == nil {
		return nil, errors.New("no .modinfo")
	}
	info, err := s.Data()
	if err != nil {
		return nil, err
	}
	for field := range strings.SplitSeq(string(info), "\x00") {
		if list, ok := strings.CutPrefix(field, "depends="); ok {
			return strings.Split(list, ","), nil
		}
	}
	return nil, nil
}
