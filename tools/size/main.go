// Command size says how large an image is, what of it is whose, and how it
// compares with its budget in testdata/budgets.txt.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"ampoule/tools/size/measure"
	"ampoule/tools/workspace"
)

func main() {
	app := flag.String("app", "dns", "appliance: dns, echo, http, tls")
	target := flag.String("target", "virtio", "target: virtio or xen")
	profile := flag.String("profile", "default", "default or tiny")
	config := flag.String("config", "", "configuration (default configs/APP.toml)")
	top := flag.Int("top", 25, "packages and symbols to show")
	flag.Parse()
	i := measure.Image{App: *app, Target: *target, Profile: *profile}
	if err := run(os.Stdout, i, *config, *top); err != nil {
		fmt.Fprintln(os.Stderr, "size:", err)
		os.Exit(1)
	}
}

var errOver = errors.New("the image is above its budget")

// run builds i twice, as it ships and with symbols, and prints what it found.
func run(w io.Writer, i measure.Image, config string, top int) error {
	root, err := workspace.Root()
	if err != nil {
		return err
	}
	file, err := os.Open(filepath.Join(root, "testdata", "budgets.txt"))
	if err != nil {
		return err
	}
	defer file.Close()
	budgets, err := readBudgets(file, "testdata/budgets.txt")
	if err != nil {
		return err
	}
	dir := filepath.Join(root, "build", "size")
	ships, symbols := filepath.Join(dir, "ships", i.App+".elf"), filepath.Join(dir, "symbols", i.App+".elf")
	if err := measure.Build(root, i, config, ships); err != nil {
		return err
	}
	if err := measure.Build(root, i, config, symbols, "-strip=false"); err != nil {
		return err
	}
	st, err := os.Stat(ships)
	if err != nil {
		return err
	}
	if err := report(w, symbols, top); err != nil {
		return err
	}
	if config != "" {
		fmt.Fprintf(w, "\n%s with %s: %d bytes\n", i, config, st.Size())
		return nil // a budget is for the configuration of this repository
	}
	fmt.Fprintf(w, "\n%s\n", compare(i, st.Size(), budgets))
	for _, b := range budgets {
		if b.image == i && st.Size() > b.bytes {
			return errOver
		}
	}
	return nil
}
