// Package dom0 makes what Xen boots inside QEMU: the hypervisor, the kernel of
// the control domain (dom0) and its initramfs. Debian's packages are downloaded
// and unpacked into a cache, never installed; the initramfs is written here,
// with the tools of Xen, their libraries, busybox, and the agent through which
// the rig gives orders.
//
// It needs apt-get, dpkg-deb, xz and the go command, no root and no compiler.
package dom0

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Addresses of the bridge xenbr0 in dom0, in the network that vm's constants
// name.
const (
	IPv4 = "10.0.2.1"
	IPv6 = "fec0::1"
	// VIFScript is what a vif of a guest names as its script.
	VIFScript = "/etc/xen/scripts/vif-rig"
	Bridge    = "xenbr0"
	// BlockScript is what a disk of a guest names as its script.
	BlockScript = "/etc/xen/scripts/block-rig"
	// Ready is what dom0's console shows when the agent is about to listen,
	// Failed how the line begins that it shows instead.
	Ready  = "DOM0-READY"
	Failed = "DOM0-FAILED"
)

// Options say what dom0 holds beyond what xl needs.
type Options struct {
	// Packages are further Debian packages to have at hand.
	Packages []string
	// Programs are copied into dom0 with the libraries they need: absolute
	// paths as the packages have them, "/usr/bin/dnsperf".
	Programs []string
}

// Kit is what QEMU boots.
type Kit struct {
	Xen    string // path of the hypervisor, an ELF file
	Kernel string // path of dom0's kernel, an ELF file
	trees  trees
	cache  string
}

// cacheVersion is part of the cache's key, with the lists of what is fetched and
// unpacked: change it when something else about that changes.
const cacheVersion = "1"

// Prepare fills the cache unless it is filled, which takes a network and half
// a minute; after that it takes a moment. It blocks while another process
// prepares the same cache. An error is ErrPackages when the packages cannot be
// had. say is told what takes long.
func Prepare(ctx context.Context, cache string, o Options, say func(string)) (*Kit, error) {
	cache, err := filepath.Abs(cache)
	if err != nil {
		return nil, err
	}
	lock, err := lockCache(cache)
	if err != nil {
		return nil, err
	}
	defer lock.Close() // unlocks
	core, err := cached(ctx, cache, "core", corePackages, moduleFolders, say, unpackBoot)
	if err != nil {
		return nil, err
	}
	k := &Kit{Xen: filepath.Join(core, "xen"), Kernel: filepath.Join(core, "vmlinux"),
		trees: trees{tree(filepath.Join(core, "tree"))}, cache: cache}
	if len(o.Packages) > 0 {
		more, err := cached(ctx, cache, "more", o.Packages, moduleFolders, say, nil)
		if err != nil {
			return nil, err
		}
		k.trees = append(k.trees, tree(filepath.Join(more, "tree")))
	}
	return k, nil
}

// lockCache makes the folder of a cache unless it is there, and keeps others out
// until the file is closed.
func lockCache(cache string) (*os.File, error) {
	if strings.ContainsAny(cache, " ,") {
		return nil, fmt.Errorf("dom0: QEMU takes no kernel from a folder with a space or comma in its name: %s", cache)
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(cache, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		lock.Close()
		return nil, fmt.Errorf("dom0: lock %s: %w", cache, err)
	}
	return lock, nil
}

// cached is the folder that holds packages, unpacked below "tree", of the kernel's
// modules those in folders. finish adds to a new one what is derived from them.
func cached(ctx context.Context, cache, kind string, packages, folders []string, say func(string), finish func(ctx context.Context, dir string) error) (string, error) {
	key := sha256.Sum256(fmt.Append(nil, cacheVersion, follow, folders, slices.Sorted(slices.Values(packages))))
	dir := filepath.Join(cache, kind+"-"+hex.EncodeToString(key[:6]))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	tmp, err := os.MkdirTemp(cache, "new-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	if err := fetch(ctx, filepath.Join(tmp, "tree"), packages, folders, say); err != nil {
		return "", fmt.Errorf("dom0: %w", err)
	}
	if finish != nil {
		if err := finish(ctx, tmp); err != nil {
			return "", fmt.Errorf("dom0: %w", err)
		}
	}
	return dir, os.Rename(tmp, dir)
}

// unpackBoot decompresses the hypervisor and the kernel: QEMU's multiboot
// loader takes plain ELF files only.
func unpackBoot(ctx context.Context, dir string) error {
	t := tree(filepath.Join(dir, "tree"))
	for _, f := range []struct {
		pattern, name string
		open          func(context.Context, []byte) ([]byte, error)
	}{{"boot/xen-*.gz", "xen", decompress}, {"boot/vmlinuz-*", "vmlinux", vmlinux}} {
		p, err := t.one(f.pattern)
		if err != nil {
			return err
		}
		b, err := t.read(p)
		if err != nil {
			return err
		}
		if b, err = f.open(ctx, b); err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		if err := os.WriteFile(filepath.Join(dir, f.name), b, 0o644); err != nil {
			return err
		}
	}
	return nil
}

//go:embed init.sh vif.sh block.sh
var scripts embed.FS

// xenPrograms are the tools of Xen that dom0 has. libxl looks for its helpers
// at their absolute paths.
var xenPrograms = []string{"xl", "xenstored", "xenconsoled", "xenconsole", "xen-init-dom0",
	"libxl-save-helper", "xenctx", "lsevtchn"}

// Initramfs writes dom0's file system to w.
func (k *Kit) Initramfs(ctx context.Context, w io.Writer, o Options) error {
	a := newArchive(w)
	for _, d := range []string{"proc", "sys", "dev", "run", "tmp", "sbin", "usr/sbin", "guest", "var/lib/xen", "var/lib/xenstored", "var/log/xen"} {
		a.dir(d)
	}
	a.char("dev/console", 5, 1)
	// Without /run/xen under this name every end of a domain fails and leaves
	// a zombie domain behind.
	a.symlink("var/run", "../run")
	a.symlink("var/lock", "../run/lock") // of xl console
	a.file("etc/xen/xl.conf", 0o644, nil)
	if err := k.scripts(a); err != nil {
		return fmt.Errorf("dom0: %w", err)
	}
	if err := k.modules(ctx, a); err != nil {
		return fmt.Errorf("dom0: %w", err)
	}
	if err := k.programs(a, o.Programs); err != nil {
		return fmt.Errorf("dom0: %w", err)
	}
	agent, err := buildAgent(ctx, k.cache)
	if err != nil {
		return fmt.Errorf("dom0: %w", err)
	}
	a.file("bin/agent", 0o755, agent)
	return a.close()
}

func (k *Kit) scripts(a *archive) error {
	for from, to := range map[string]string{"init.sh": "init", "vif.sh": strings.TrimPrefix(VIFScript, "/"),
		"block.sh": strings.TrimPrefix(BlockScript, "/")} {
		b, err := scripts.ReadFile(from)
		if err != nil {
			return err
		}
		a.file(to, 0o755, b)
	}
	a.file("etc/rig", 0o644, fmt.Appendf(nil, "BRIDGE=%s\nIPV4=%s/24\nIPV6=%s/64\nREADY=%s\nFAILED=%s\n",
		Bridge, IPv4, IPv6, Ready, Failed))
	return nil
}

func (k *Kit) modules(ctx context.Context, a *archive) error {
	return k.trees.modules(ctx, a, modules)
}

// modules adds the kernel's modules that are wanted, and the order to load them in.
func (ts trees) modules(ctx context.Context, a *archive, wanted []string) error {
	dir, err := ts[0].one("lib/modules/*/kernel")
	if err != nil {
		return err
	}
	order, err := loadOrder(ctx, filepath.Join(string(ts[0]), dir), wanted)
	if err != nil {
		return err
	}
	var list strings.Builder
	for _, m := range order {
		a.file("modules/"+m.name+".ko", 0o644, m.data)
		fmt.Fprintln(&list, m.name)
	}
	a.file("modules/order", 0o644, []byte(list.String()))
	return nil
}

// programs adds the tools and the libraries that they and more need.
func (k *Kit) programs(a *archive, more []string) error {
	core := k.trees[0]
	xl, err := core.one("usr/lib/xen-*/bin/xl")
	if err != nil {
		return err
	}
	var names []string
	for _, p := range xenPrograms {
		names = append(names, path.Join(path.Dir(xl), p))
		a.symlink("bin/"+p, "/"+path.Join(path.Dir(xl), p))
	}
	for _, p := range []string{"xenstore-read", "xenstore-write", "xenstore-ls", "xenstore-rm", "xenstore-list", "xenstore-watch", "xenstore-exists"} {
		names = append(names, "usr/bin/"+p)
	}
	return k.trees.programs(a, append(names, more...))
}

// programs adds busybox, and programs with their libraries.
func (ts trees) programs(a *archive, names []string) error {
	busybox, err := ts.find("bin/busybox", "usr/bin/busybox")
	if err != nil {
		return err
	}
	data, err := os.ReadFile(busybox)
	if err != nil {
		return err
	}
	a.file("bin/busybox", 0o755, data)
	libs := map[string]string{}
	for _, n := range names {
		n = strings.TrimPrefix(n, "/")
		file, err := ts.find(n)
		if err != nil {
			return err
		}
		if err := ts.needed(file, libs); err != nil {
			return err
		}
		if data, err = os.ReadFile(file); err != nil {
			return err
		}
		a.file(n, 0o755, data)
	}
	return ts.libraries(a, libs)
}

// libraries adds libs, and the one that the C library loads by itself when a
// thread ends, without which xl aborts.
func (ts trees) libraries(a *archive, libs map[string]string) error {
	const unwinder = "libgcc_s.so.1"
	p, err := ts.library(unwinder)
	if err != nil {
		return err
	}
	libs[unwinder] = p
	for _, name := range slices.Sorted(maps.Keys(libs)) {
		data, err := os.ReadFile(libs[name])
		if err != nil {
			return err
		}
		if !path.IsAbs(name) {
			name = path.Join(libraryFolders[0], name)
		}
		a.file(strings.TrimPrefix(name, "/"), 0o755, data)
	}
	return nil
}

// find is the file on this machine of the first of names that a package has.
func (ts trees) find(names ...string) (string, error) {
	for _, t := range ts {
		for _, n := range names {
			if p, err := t.resolve(n); err == nil {
				return filepath.Join(string(t), p), nil
			}
		}
	}
	return "", fmt.Errorf("no package has /%s", strings.Join(names, " or /"))
}

// buildAgent compiles the agent for dom0, statically linked.
func buildAgent(ctx context.Context, cache string) ([]byte, error) {
	tmp, err := os.MkdirTemp(cache, "agent-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	out := filepath.Join(tmp, "agent")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, "ampoule/tools/xenrig/agent")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if said, err := cmd.CombinedOutput(); err != nil {
		return nil, errors.Join(fmt.Errorf("go build of the agent: %w", err), errors.New(string(said)))
	}
	return os.ReadFile(out)
}
