// Command mkimage builds a bootable image from a Go program.
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"ampoule/boot/image"
	"ampoule/boot/layout"
	"ampoule/libos/netif/trim"
	"ampoule/libos/rt"
	configimage "ampoule/tools/configc/image"
	"ampoule/tools/configc/report"
	"ampoule/tools/mkoverlay"
	"ampoule/tools/workspace"
)

type options struct {
	pkg, app, target, config string
	out, goroot, goamd64     string
	work, seed, profile      string
	strip                    bool
	without                  string

	id  identity
	bin string   // what the linker made, whose function tables are whole; "": the image
	get []string // the user's settings that say where modules come from and are kept
}

// identity is what tells an image from all others.
type identity struct {
	config string // fingerprint of the compiled configuration; "" without one
	seed   seed
	build  string // fingerprint of all that the image is made from
	deps   []goPackage
}

func main() {
	var o options
	flag.StringVar(&o.pkg, "pkg", "", "package of the program, instead of -app")
	flag.StringVar(&o.app, "app", "", "appliance: dns, echo, http, tls")
	flag.StringVar(&o.target, "target", "virtio", "target: virtio or xen")
	flag.StringVar(&o.config, "config", "", "configuration (default configs/APP.toml)")
	flag.StringVar(&o.out, "o", "", "image to write, or with a / at the end its folder (default dist/APP-TARGET/)")
	flag.StringVar(&o.goroot, "goroot", "", "GOROOT to build with (default: the running Go's)")
	flag.StringVar(&o.goamd64, "goamd64", "v1", "lowest x86-64 level of the CPU: v1, v2 or v3")
	flag.StringVar(&o.work, "work", "build", "folder for intermediate files")
	flag.StringVar(&o.seed, "seed", "", "text that the layout follows from; random: a new one (default: the inputs' fingerprint)")
	flag.StringVar(&o.profile, "profile", "default", "default, or tiny: smaller, without names in traces")
	flag.BoolVar(&o.strip, "strip", true, "leave out symbol table and DWARF, shrink function tables")
	flag.StringVar(&o.without, "without", "", "parts of the configuration to leave out, with commas between, to measure what they take")
	flag.Parse()
	err := o.run()
	if err != nil && !errors.Is(err, errConfig) {
		fmt.Fprintln(os.Stderr, "mkimage:", err)
	}
	if err != nil {
		os.Exit(1)
	}
}

// errConfig says that the configuration was refused and the reasons printed.
var errConfig = errors.New("configuration refused")

func (o *options) run() error {
	if err := o.complete(); err != nil {
		return err
	}
	if err := o.readSettings(); err != nil {
		return err
	}
	ov, err := mkoverlay.New(o.goroot)
	if err != nil {
		return err
	}
	root, err := workspace.Root()
	if err != nil {
		return err
	}
	var without []string
	if o.app != "" {
		if without, err = o.configure(ov); err != nil {
			return err
		}
	}
	if err := ov.Trim(root, without...); err != nil {
		return err
	}
	dir, err := filepath.Abs(filepath.Join(o.work, "overlay-"+o.name()))
	if err != nil {
		return err
	}
	overlay, err := ov.Write(dir)
	if err != nil {
		return err
	}
	if err := o.identify(overlay); err != nil {
		return err
	}
	main := slices.IndexFunc(o.id.deps, func(p goPackage) bool { return p.ImportPath == o.pkg })
	if main < 0 {
		return fmt.Errorf("%s is not among its own dependencies", o.pkg)
	}
	ov.Add(filepath.Join(o.id.deps[main].Dir, seedFile), o.id.seed.source(o.id.deps, o.pkg))
	if overlay, err = ov.Write(dir); err != nil {
		return err
	}
	tmp := o.out + ".link"
	defer os.Remove(tmp)
	if err := o.compile(overlay, tmp); err != nil {
		return err
	}
	o.bin = tmp
	if err := o.seal(tmp); err != nil {
		return err
	}
	return o.finish()
}

// seal makes the image from what was linked.
func (o *options) seal(linked string) error {
	b, err := os.ReadFile(linked)
	if err != nil {
		return err
	}
	keep := image.Traceable
	if o.profile == "tiny" {
		keep = image.Tiny
	}
	if o.strip { // tools that read the symbols read the function tables too
		if b, err = image.Slim(b, keep); err != nil {
			return err
		}
	}
	sealed, _, err := image.Seal(b, layout.Image)
	if err != nil {
		return err
	}
	return write(o.out, sealed)
}

// complete checks the options and fills in defaults.
func (o *options) complete() error {
	switch {
	case o.pkg != "" && o.app != "" || o.pkg == "" && o.app == "":
		return errors.New("need one of -app and -pkg")
	case o.target != "virtio" && o.target != "xen":
		return fmt.Errorf("unknown target %q: there are virtio and xen", o.target)
	case o.goamd64 != "v1" && o.goamd64 != "v2" && o.goamd64 != "v3":
		return fmt.Errorf("unknown x86-64 level %q: there are v1, v2 and v3", o.goamd64)
	case o.profile != "" && o.profile != "default" && o.profile != "tiny":
		return fmt.Errorf("unknown profile %q: there are default and tiny", o.profile)
	case o.pkg != "" && o.out == "":
		return errors.New("-pkg needs -o")
	}
	if o.app != "" {
		o.pkg = "ampoule/appliances/" + o.app
		if o.config == "" {
			o.config = filepath.Join("configs", o.app+".toml")
		}
	}
	if o.out == "" {
		o.out = filepath.Join("dist", o.app+"-"+o.target, o.app+".elf")
	}
	if strings.HasSuffix(o.out, "/") {
		o.out = filepath.Join(o.out, o.app+".elf")
	}
	if o.goroot == "" {
		b, err := exec.Command("go", "env", "GOROOT").Output()
		if err != nil {
			return fmt.Errorf("go env GOROOT: %w", err)
		}
		o.goroot = strings.TrimSpace(string(b))
	}
	return os.MkdirAll(filepath.Dir(o.out), 0o755)
}

// name tells apart the builds that may run at the same time.
func (o *options) name() string {
	name := strings.ReplaceAll(o.pkg, "/", "-") + "-" + o.target + "-" + o.goamd64 + "-" + o.profile + "-" + filepath.Base(o.goroot)
	if o.seed != "" {
		name += "-" + seed(o.seed).fingerprint()
	}
	return name
}

// configure compiles the configuration file into the appliance's package
// config, and into package feature, which decides what is linked, and says
// which parts of the network stack the image does without. Every problem is
// printed.
func (o *options) configure(ov *mkoverlay.Overlay) (without []string, err error) {
	var list report.List
	img := configimage.Load(o.config, o.app, &list)
	for _, p := range list.Problems() {
		fmt.Fprintln(os.Stderr, p)
	}
	if list.Failed() {
		return nil, errConfig
	}
	if o.without != "" {
		if img, err = img.Without(strings.Split(o.without, ",")...); err != nil {
			return nil, err
		}
	}
	sum := sha256.New()
	writers := map[string]func(io.Writer) error{o.pkg + "/config": img.Source, configimage.FeaturePackage: img.Feature}
	for _, pkg := range slices.Sorted(maps.Keys(writers)) {
		var source bytes.Buffer
		if err := writers[pkg](&source); err != nil {
			return nil, err
		}
		fmt.Fprintf(sum, "%s %x\n", pkg, sha256.Sum256(source.Bytes()))
		dir, err := exec.Command("go", "list", "-f", "{{.Dir}}", pkg).Output()
		if err != nil {
			return nil, fmt.Errorf("no package %s: %w", pkg, err)
		}
		ov.Add(filepath.Join(strings.TrimSpace(string(dir)), path.Base(pkg)+".go"), source.Bytes())
	}
	o.id.config = hex.EncodeToString(sum.Sum(nil))
	if !img.Network.SLAAC {
		without = append(without, trim.RouterAdvertisements)
	}
	if !img.Network.Fragments {
		without = append(without, trim.Fragments)
	}
	return without, nil
}

// identify finds the fingerprints and the seed.
func (o *options) identify(overlay string) error {
	var err error
	if o.id.deps, err = o.list(overlay); err != nil {
		return err
	}
	inputs, err := o.inputs(o.id.deps, overlay)
	if err != nil {
		return err
	}
	o.id.seed = newSeed(o.seed, inputs)
	sum := sha256.Sum256([]byte(inputs + "\n" + string(o.id.seed)))
	o.id.build = hex.EncodeToString(sum[:])
	return nil
}

// shown is how much of a fingerprint the running appliance says.
const shown = 16

// compile links the program at the address and in the order of the seed.
func (o *options) compile(overlay, out string) error {
	s := o.id.seed
	align := 16 // of functions; the linker's 32 take 50 KB more
	if o.profile == "tiny" {
		align = 1
	}
	ld := fmt.Sprintf("-T %#x -funcalign=%d -randlayout %d -X ampoule/boot/pvh.seed=%s -X ampoule/libos/appliance.build=%s",
		s.text(), align, s.functions(), s.boot(), o.id.build[:shown])
	if o.id.config != "" {
		ld += " -X ampoule/libos/appliance.configuration=" + o.id.config[:shown]
	}
	if o.strip {
		ld += " -s -w"
	}
	cmd := o.goCommand("build", "-trimpath", "-buildvcs=false",
		"-tags", o.tags(), "-overlay", overlay, "-ldflags", ld, "-o", out, o.pkg)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go build %s: %w", o.pkg, err)
	}
	return nil
}

// tags are the build tags of the target.
func (o *options) tags() string {
	if o.target == "virtio" {
		return rt.Tag
	}
	return rt.Tag + "," + o.target
}

// settings are the variables of go env that an image does not depend on.
var settings = []string{"GOPATH", "GOCACHE", "GOMODCACHE", "GOPROXY", "GOSUMDB", "GONOSUMDB", "GONOPROXY", "GOPRIVATE", "GOINSECURE", "GOAUTH", "GOVCS"}

// readSettings keeps those; what go env -w has set beside them must not count.
func (o *options) readSettings() error {
	out, err := exec.Command("go", append([]string{"env"}, settings...)...).Output()
	if err != nil {
		return fmt.Errorf("go env: %w", err)
	}
	values := strings.Split(string(out), "\n")
	for i, name := range settings {
		if i < len(values) && values[i] != "" {
			o.get = append(o.get, name+"="+values[i])
		}
	}
	return nil
}

// env is the part of the environment that decides what is built, and where from.
func (o *options) env() []string {
	return append([]string{"GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0", "GOAMD64=" + o.goamd64,
		"GOEXPERIMENT=", "GOTOOLCHAIN=local", "GOROOT=" + o.goroot, "GOFLAGS=", "GODEBUG=",
		"GOFIPS140=off", "GOENV=off"}, o.get...)
}
