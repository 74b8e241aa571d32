package main

import (
	"cmp"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"ampoule/libos/netif/trim"
)

// manifest says what an image is made of. It has no time and no path of the
// machine that built it.
type manifest struct {
	Appliance     string   `json:"appliance"`
	Target        string   `json:"target"`
	Go            string   `json:"go"`
	GOAMD64       string   `json:"goamd64"`
	Build         string   `json:"build"`         // fingerprint of all inputs and the seed
	Configuration string   `json:"configuration"` // fingerprint of what was compiled in
	Seed          seed     `json:"seed"`
	SeedPrint     string   `json:"seed_fingerprint"`
	Files         []file   `json:"files"`
	SBOM          string   `json:"sbom"` // name of the file
	Modules       []module `json:"modules"`
}

// module is a linked module. One of this repository has neither version nor sum:
// the build's fingerprint stands for it.
type module struct {
	Path    string `json:"path"`
	Version string `json:"version,omitempty"`
	Sum     string `json:"sum,omitempty"` // as in go.sum
}

// sbomName is the bill of materials, SPDX 2.3 in JSON.
const sbomName = "sbom.spdx.json"

type file struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"` // bytes
	SHA256 string `json:"sha256"`
}

// xlConfig is a configuration for xl (xl.cfg(5)); kernel and name are filled in.
const xlConfig = `# %[1]s on Xen: xl create %[1]s.cfg
name = "%[1]s"
type = "pvh"
kernel = "%[1]s.elf" # the full path, if xl is called from elsewhere
memory = 32
vcpus = 1
vif = [ "bridge=xenbr0" ]
on_poweroff = "destroy"
on_reboot = "restart"
on_crash = "restart"
# Room for the page tables of a restore; small guests have too little by default.
shadow_memory = 8
# The guest's clock is Xen's own; an emulated TSC would only slow it down.
tsc_mode = "native"
`

const xlStart = `Starting %[1]s on a Xen host

1. Copy this folder to the host. Check the image against manifest.json:
       sha256sum %[1]s.elf
2. Set bridge= in %[1]s.cfg to the bridge of your network ("xl network-list",
   "brctl show"), and kernel= to the full path of %[1]s.elf.
3. Start it and watch its console:
       xl create %[1]s.cfg
       xl console %[1]s
   "info serving" is its line when it answers; Ctrl-] leaves the console.
4. xl shutdown, reboot, pause, unpause, save, restore and migrate work as with any
   guest.

The address is the one in the configuration that the image was built from, or
from the network ("info lease" and "addresses from routers" on the console). To
change anything, build a new image.

If the configuration has disk = true under [management], make a volume of 4 MiB or
more and a key, once ("openssl rand -hex 32"), and add to %[1]s.cfg:
    cmdline = "store-key=KEY"
    disk = [ "phy:/dev/VOLUME-GROUP/VOLUME,xvda,w" ]
`

const virtioStart = `Starting %[1]s with QEMU (KVM where there is one)

    qemu-system-x86_64 -M microvm -cpu max -m 32 -nodefaults -no-reboot \
        -display none -serial stdio -global virtio-mmio.force-legacy=false \
        -kernel %[1]s.elf -netdev tap,id=n0,ifname=tap0,script=no \
        -device virtio-net-device,netdev=n0

%[1]s.elf is a PVH image: Firecracker and Cloud Hypervisor take it as kernel, too.
"info serving" on the console is its line when it answers.

If the configuration has disk = true under [management], make a disk and a key, once
("truncate -s 4M %[1]s.disk", "openssl rand -hex 32"), and add:
    -append store-key=KEY -drive if=none,id=d0,format=raw,file=%[1]s.disk \
    -device virtio-blk-device,drive=d0
`

// finish writes what goes beside an appliance's image.
func (o *options) finish() error {
	if o.app == "" {
		return nil
	}
	dir := filepath.Dir(o.out)
	extra := map[string]string{"START.txt": fmt.Sprintf(virtioStart, o.app)}
	if o.target == "xen" {
		extra = map[string]string{
			"START.txt":    fmt.Sprintf(xlStart, o.app),
			o.app + ".cfg": fmt.Sprintf(xlConfig, o.app),
		}
	}
	for name, text := range extra {
		if err := write(filepath.Join(dir, name), []byte(text)); err != nil {
			return err
		}
	}
	info, err := buildinfo.ReadFile(o.out)
	if err != nil {
		return fmt.Errorf("build information of %s: %w", o.out, err)
	}
	if err := o.writeSBOM(dir, info); err != nil {
		return err
	}
	names := append([]string{filepath.Base(o.out), sbomName}, slices.Sorted(maps.Keys(extra))...)
	m, err := o.manifest(dir, info, names)
	if err != nil {
		return err
	}
	j, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	return write(filepath.Join(dir, "manifest.json"), append(j, '\n'))
}

// write makes a file with the same permissions whatever the user's umask is.
func write(name string, b []byte) error {
	if err := os.WriteFile(name, b, 0o644); err != nil {
		return err
	}
	return os.Chmod(name, 0o644)
}

// writeSBOM writes the bill of materials.
func (o *options) writeSBOM(dir string, info *buildinfo.BuildInfo) error {
	linked, err := o.linked(cmp.Or(o.bin, o.out))
	if err != nil {
		return err
	}
	sums := map[string]string{}
	for _, d := range info.Deps {
		sums[d.Path] = d.Sum
	}
	image, err := describe(dir, filepath.Base(o.out))
	if err != nil {
		return err
	}
	b, err := o.sbom(o.components(linked, info.GoVersion, sums), image)
	if err != nil {
		return err
	}
	return write(filepath.Join(dir, sbomName), b)
}

// describe is the entry of a file in dir.
func describe(dir, name string) (file, error) {
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return file{}, err
	}
	sum := sha256.Sum256(b)
	return file{name, int64(len(b)), hex.EncodeToString(sum[:])}, nil
}

// manifest describes the files of dir.
func (o *options) manifest(dir string, info *buildinfo.BuildInfo, names []string) (*manifest, error) {
	m := &manifest{Appliance: o.app, Target: o.target, Go: info.GoVersion, GOAMD64: o.goamd64, Build: o.id.build,
		Configuration: o.id.config, Seed: o.id.seed, SeedPrint: o.id.seed.fingerprint(), SBOM: sbomName}
	for _, n := range names {
		f, err := describe(dir, n)
		if err != nil {
			return nil, err
		}
		m.Files = append(m.Files, f)
	}
	for _, d := range info.Deps {
		v := module{d.Path, d.Version, d.Sum}
		if d.Path == trim.Module { // replaced by itself, less what is trimmed: no sum fits
			v.Sum = ""
		} else if d.Replace != nil || d.Sum == "" {
			v = module{Path: d.Path}
		}
		m.Modules = append(m.Modules, v)
	}
	return m, nil
}
