// Configc compiles the configuration of an image: it reads one TOML file and
// the zone files that it names, checks all of it, and writes the Go source of
// the appliance's package config.
//
//	configc -config configs/dns.toml -app dns -o out/config.go -feature out/feature.go
//
// -feature also writes the source of libos/config/feature, which decides what is
// linked. configc -reference prints the description of all keys.
//
// Problems go to the standard error output, one a line, as file:line: reason.
// The exit code is 0, 1 when there were errors (then nothing is written), or 2
// when the command line is wrong.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"ampoule/tools/configc/image"
	"ampoule/tools/configc/report"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("configc", flag.ContinueOnError)
	flags.SetOutput(stderr)
	apps := strings.Join(image.Apps[:], ", ")
	config := flags.String("config", "", "the configuration `file`")
	app := flags.String("app", "", "the `appliance`: "+apps)
	out := flags.String("o", "-", "the `file` to write; - is the standard output")
	feature := flags.String("feature", "", "the `file` to write package feature to")
	reference := flags.Bool("reference", false, "print the description of all keys, and nothing else")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if *reference && len(args) == 1 {
		image.Reference(stdout)
		return 0
	}
	if *config == "" || flags.NArg() > 0 {
		fmt.Fprintln(stderr, "usage: configc -config FILE -app APPLIANCE [-o FILE] [-feature FILE]")
		return 2
	}
	if !slices.Contains(image.Apps[:], *app) {
		fmt.Fprintf(stderr, "configc: -app %s: no such appliance; there are: %s\n", *app, apps)
		return 2
	}
	var list report.List
	img := image.Load(*config, *app, &list)
	for _, p := range list.Problems() {
		fmt.Fprintln(stderr, p)
	}
	if list.Failed() {
		return 1
	}
	err := write(*out, img.Source, stdout)
	if err == nil && *feature != "" {
		err = write(*feature, img.Feature, stdout)
	}
	if err != nil {
		fmt.Fprintf(stderr, "configc: %v\n", err)
		return 1
	}
	return 0
}

// write writes what source makes to a file, all of it or nothing.
func write(file string, source func(io.Writer) error, stdout io.Writer) error {
	var b bytes.Buffer
	if err := source(&b); err != nil {
		return err
	}
	if file == "-" {
		_, err := stdout.Write(b.Bytes())
		return err
	}
	return os.WriteFile(file, b.Bytes(), 0o644)
}
