// Command audit looks up what is linked into images among the known
// vulnerabilities of Go and its modules, with govulncheck. It builds each image
// with its symbol table, so that only vulnerable functions that are really in it
// count.
//
// It exits with 0 when nothing is known, 1 when something is, and 2 when it
// could not check.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"

	"ampoule/tools/workspace"
)

// govulncheck is the checker, in the version that this was tested with.
const govulncheck = "golang.org/x/vuln/cmd/govulncheck@v1.9.0"

// Exit codes.
const (
	clean      = 0
	vulnerable = 1
	unchecked  = 2
	found      = 3 // govulncheck's own for: there are vulnerabilities
)

func main() {
	db := flag.String("db", "https://vuln.go.dev", "vulnerability database, as for govulncheck: https://... or file:///...")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Stdout, *db, flag.Args(), build))
}

// builder makes the image APP-TARGET of the tree at root with its symbol table
// and answers where it is.
type builder func(ctx context.Context, root, name string) (string, error)

func run(ctx context.Context, w io.Writer, db string, images []string, make builder) int {
	root, err := workspace.Root()
	if err == nil && len(images) == 0 {
		err = errors.New("name the images, such as echo-virtio")
	}
	if err != nil {
		fmt.Fprintln(w, "audit:", err)
		return unchecked
	}
	result := clean
	for _, name := range images {
		file, err := make(ctx, root, name)
		if err == nil {
			var bad bool
			if bad, err = check(ctx, w, root, db, name, file); bad {
				result = max(result, vulnerable)
			}
		}
		if err != nil {
			fmt.Fprintf(w, "\nNOT CHECKED: %s: %v\n", name, err)
			result = unchecked
		}
	}
	switch result {
	case unchecked:
		fmt.Fprintf(w, "\nTHE AUDIT IS NOT COMPLETE. This says nothing about vulnerabilities.\n"+
			"The database was %s; another, or a copy, is given with DB=https://... or DB=file:///...\n", db)
	case vulnerable:
		fmt.Fprintln(w, "\nVULNERABLE: see above")
	default:
		fmt.Fprintf(w, "no known vulnerability in %s (%s)\n", strings.Join(images, " "), db)
	}
	return result
}

// build is the builder with mkimage.
func build(ctx context.Context, root, name string) (string, error) {
	app, target, ok := strings.Cut(name, "-")
	if !ok {
		return "", fmt.Errorf("%q is no APP-TARGET", name)
	}
	file := filepath.Join(root, "build", "audit", name, app+".elf")
	cmd := exec.CommandContext(ctx, "go", "run", "ampoule/tools/mkimage", "-app", app, "-target", target, "-strip=false", "-o", file)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	return file, os.WriteFile(file, pinned(b), 0o644)
}

var replaced = regexp.MustCompile(`\n=>\t\./[^\t\n]+\t\(devel\)\t?\n`)

// pinned is a program whose build information names the versions that go.mod
// pins. A module that was trimmed is replaced by a folder, of which govulncheck
// knows nothing; what is left of it is that version's. The length stays: a module
// that does not exist takes the line's place.
func pinned(program []byte) []byte {
	return replaced.ReplaceAllFunc(program, func(line []byte) []byte {
		const begin, end = "\ndep\t", "\tv0.0.0\n"
		return []byte(begin + strings.Repeat("x", len(line)-len(begin)-len(end)) + end)
	})
}

// check runs govulncheck on a file and answers whether it found something. An
// error means that it could not check.
func check(ctx context.Context, w io.Writer, root, db, name, file string) (bad bool, err error) {
	// A program of its own: go run would turn its exit code into 1.
	tool := filepath.Join(root, "build", "audit", "bin")
	install := exec.CommandContext(ctx, "go", "install", govulncheck)
	install.Env = append(os.Environ(), "GOBIN="+tool, "GOFLAGS=", "GOWORK=off")
	if out, err := install.CombinedOutput(); err != nil {
		return false, fmt.Errorf("install %s: %w\n%s", govulncheck, err, out)
	}
	fmt.Fprintf(w, "%s:\n", name)
	cmd := exec.CommandContext(ctx, filepath.Join(tool, "govulncheck"), "-mode=binary", "-db="+db, file)
	out, err := cmd.CombinedOutput()
	fmt.Fprintf(w, "%s", out)
	var exit *exec.ExitError
	switch {
	case err == nil:
		return false, nil
	case errors.As(err, &exit) && exit.ExitCode() == found:
		return true, nil
	}
	return false, fmt.Errorf("govulncheck: %w", err)
}
