package main

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// manifest says what an image is made of. It has no time and no path of the
// machine that built it.
type manifest struct {
	Appliance string            `json:"appliance"`
	Target    string            `json:"target"`
	Go        string            `json:"go"`
	GOAMD64   string            `json:"goamd64"`
	Files     []file            `json:"files"`
	Modules   map[string]string `json:"modules"` // linked modules and their versions
}

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
`

const virtioStart = `Starting %[1]s with QEMU (KVM where there is one)

    qemu-system-x86_64 -M microvm -cpu max -m 32 -nodefaults -no-reboot \
        -display none -serial stdio -global virtio-mmio.force-legacy=false \
        -kernel %[1]s.elf -netdev tap,id=n0,ifname=tap0,script=no \
        -device virtio-net-device,netdev=n0

%[1]s.elf is a PVH image: Firecracker and Cloud Hypervisor take it as kernel, too.
"info serving" on the console is its line when it answers.
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
	names := []string{filepath.Base(o.out)}
	for name, text := range extra {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
		if strings.HasSuffix(name, ".cfg") {
			names = append(names, name)
		}
	}
	m, err := o.manifest(dir, names)
	if err != nil {
		return err
	}
	j, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "manifest.json"), append(j, '\n'), 0o644)
}

// manifest describes the files of dir.
func (o *options) manifest(dir string, names []string) (*manifest, error) {
	m := &manifest{Appliance: o.app, Target: o.target, GOAMD64: o.goamd64, Modules: map[string]string{}}
	for _, n := range names {
		b, err := os.ReadFile(filepath.Join(dir, n))
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(b)
		m.Files = append(m.Files, file{n, int64(len(b)), hex.EncodeToString(sum[:])})
	}
	info, err := buildinfo.ReadFile(o.out)
	if err != nil {
		return nil, fmt.Errorf("build information of %s: %w", o.out, err)
	}
	m.Go = info.GoVersion
	for _, d := range info.Deps {
		v := d.Version
		if d.Replace != nil {
			v = "of this repository"
		}
		m.Modules[d.Path] = v
	}
	return m, nil
}
