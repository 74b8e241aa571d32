// Command mkimage builds a bootable image from a Go program.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	"ampoule/boot/image"
	"ampoule/boot/layout"
	"ampoule/libos/rt"
	configimage "ampoule/tools/configc/image"
	"ampoule/tools/configc/report"
	"ampoule/tools/mkoverlay"
)

type options struct {
	pkg, app, target, config string
	out, goroot, goamd64     string
	work                     string
	strip                    bool
}

func main() {
	var o options
	flag.StringVar(&o.pkg, "pkg", "", "package of the program, instead of -app")
	flag.StringVar(&o.app, "app", "", "appliance: echo, dns")
	flag.StringVar(&o.target, "target", "virtio", "target: virtio or xen")
	flag.StringVar(&o.config, "config", "", "configuration (default configs/APP.toml)")
	flag.StringVar(&o.out, "o", "", "image to write, or with a / at the end its folder (default dist/APP-TARGET/)")
	flag.StringVar(&o.goroot, "goroot", "", "GOROOT to build with (default: the running Go's)")
	flag.StringVar(&o.goamd64, "goamd64", "v1", "lowest x86-64 level of the CPU: v1, v2 or v3")
	flag.StringVar(&o.work, "work", "build", "folder for intermediate files")
	flag.BoolVar(&o.strip, "strip", true, "leave out symbol table and DWARF")
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
	ov, err := mkoverlay.New(o.goroot)
	if err != nil {
		return err
	}
	if o.app != "" {
		if err := o.configure(ov); err != nil {
			return err
		}
	}
	dir, err := filepath.Abs(filepath.Join(o.work, "overlay-"+o.name()))
	if err != nil {
		return err
	}
	overlay, err := ov.Write(dir)
	if err != nil {
		return err
	}
	tmp := o.out + ".link"
	defer os.Remove(tmp)
	if err := o.compile(overlay, tmp); err != nil {
		return err
	}
	b, err := os.ReadFile(tmp)
	if err != nil {
		return err
	}
	sealed, _, err := image.Seal(b, layout.Image)
	if err != nil {
		return err
	}
	if err := os.WriteFile(o.out, sealed, 0o644); err != nil {
		return err
	}
	return o.finish()
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
	return strings.ReplaceAll(o.pkg, "/", "-") + "-" + o.target + "-" + o.goamd64 + "-" + filepath.Base(o.goroot)
}

// configure compiles the configuration file into the appliance's package
// config, and into package feature, which decides what is linked. Every problem
// is printed.
func (o *options) configure(ov *mkoverlay.Overlay) error {
	var list report.List
	img := configimage.Load(o.config, o.app, &list)
	for _, p := range list.Problems() {
		fmt.Fprintln(os.Stderr, p)
	}
	if list.Failed() {
		return errConfig
	}
	for pkg, write := range map[string]func(io.Writer) error{o.pkg + "/config": img.Source, configimage.FeaturePackage: img.Feature} {
		var source bytes.Buffer
		if err := write(&source); err != nil {
			return err
		}
		dir, err := exec.Command("go", "list", "-f", "{{.Dir}}", pkg).Output()
		if err != nil {
			return fmt.Errorf("no package %s: %w", pkg, err)
		}
		ov.Add(filepath.Join(strings.TrimSpace(string(dir)), path.Base(pkg)+".go"), source.Bytes())
	}
	return nil
}

// compile links the program at layout.ImageLow.
func (o *options) compile(overlay, out string) error {
	ld := fmt.Sprintf("-T %#x", layout.ImageLow+layout.Page)
	if o.strip {
		ld += " -s -w"
	}
	tags := rt.Tag
	if o.target != "virtio" {
		tags += "," + o.target
	}
	cmd := exec.Command(filepath.Join(o.goroot, "bin", "go"), "build", "-trimpath", "-buildvcs=false",
		"-tags", tags, "-overlay", overlay, "-ldflags", ld, "-o", out, o.pkg)
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0", "GOAMD64="+o.goamd64,
		"GOEXPERIMENT=", "GOTOOLCHAIN=local", "GOROOT="+o.goroot, "GOFLAGS=")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go build %s: %w", o.pkg, err)
	}
	return nil
}
