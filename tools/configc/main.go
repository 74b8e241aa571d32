// Configc compiles the configuration of an image: it reads one TOML file and
// the zone files that it names, checks all of it, and writes the Go source of
// the appliance's package config.
//
//	configc -config configs/dns.toml -app dns -o out/config.go
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
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if *config == "" || flags.NArg() > 0 {
		fmt.Fprintln(stderr, "usage: configc -config FILE -app APPLIANCE [-o FILE]")
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
	var source bytes.Buffer
	err := img.Source(&source)
	if err == nil && *out == "-" {
		_, err = stdout.Write(source.Bytes())
	} else if err == nil {
		err = os.WriteFile(*out, source.Bytes(), 0o644)
	}
	if err != nil {
		fmt.Fprintf(stderr, "configc: %v\n", err)
		return 1
	}
	return 0
}
