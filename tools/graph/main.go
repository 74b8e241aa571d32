// Command graph draws which modules each part of an image's configuration pulled
// in and the bytes that each takes, as text and as SVG.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"ampoule/tools/size/measure"
	"ampoule/tools/workspace"
)

func main() {
	app := flag.String("app", "dns", "appliance: echo, dns")
	target := flag.String("target", "virtio", "target: virtio or xen")
	profile := flag.String("profile", "default", "default or tiny")
	config := flag.String("config", "", "configuration (default configs/APP.toml)")
	out := flag.String("o", "", "folder to write graph.txt and graph.svg to (default dist/APP-TARGET)")
	flag.Parse()
	if err := run(measure.Image{App: *app, Target: *target, Profile: *profile}, *config, *out); err != nil {
		fmt.Fprintln(os.Stderr, "graph:", err)
		os.Exit(1)
	}
}

// run writes the two files, and the text to the standard output.
func run(i measure.Image, config, out string) error {
	root, err := workspace.Root()
	if err != nil {
		return err
	}
	name := config
	if config == "" {
		name = filepath.Join("configs", i.App+".toml")
		config = filepath.Join(root, name)
	}
	if config, err = filepath.Abs(config); err != nil {
		return err
	}
	if out == "" {
		out = filepath.Join(root, "dist", i.App+"-"+i.Target)
	}
	g, err := measured(root, i, config, filepath.Join(root, "build", "graph"))
	if err != nil {
		return err
	}
	g.title = fmt.Sprintf("%s with %s", i, name)
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	text := g.text()
	if err := os.WriteFile(filepath.Join(out, "graph.txt"), text, 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(out, "graph.svg"), g.svg(), 0o644); err != nil {
		return err
	}
	_, err = os.Stdout.Write(text)
	return err
}
