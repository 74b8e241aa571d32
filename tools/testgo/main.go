// Command testgo builds the echo image, in both profiles, with another Go release
// than the pinned one, boots it on each machine type and asks it: the promise
// that the next minor release works too. It runs the tests of boot/image with it
// as well. The release is fetched as an ordinary toolchain
// module and copied out of the module cache, where -overlay may not be used.
package main

import (
	"context"
	"debug/buildinfo"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"ampoule/tools/boottest/vm"
	"ampoule/tools/load"
)

func main() {
	version := flag.String("version", "", "release to test, such as go1.27.1")
	work := flag.String("work", "build", "folder for the release and the image")
	flag.Parse()
	if !strings.HasPrefix(*version, "go1.") {
		fmt.Fprintln(os.Stderr, "testgo: -version must be a release such as go1.27.1")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *version, *work); err != nil {
		fmt.Fprintln(os.Stderr, "testgo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, version, work string) error {
	root, err := fetch(ctx, version, work)
	if err != nil {
		return err
	}
	if err := rewriter(ctx, root, version); err != nil {
		return err
	}
	for _, profile := range []string{"default", "tiny"} {
		image, err := build(ctx, root, version, profile, filepath.Join(work, "test-go", version))
		if err != nil {
			return err
		}
		for _, m := range vm.Machines {
			if err := boot(ctx, image, m); err != nil {
				return fmt.Errorf("%s, %s: %w", profile, m, err)
			}
			fmt.Printf("ok: built with %s, %s, answers over UDP and TCP on %s\n", version, profile, m)
		}
	}
	return nil
}

// rewriter tests what changes linked files on programs of that release.
func rewriter(ctx context.Context, root, version string) error {
	bin := filepath.Join(root, "bin")
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "go"), "test", "ampoule/boot/image")
	cmd.Env = append(os.Environ(), "GOTOOLCHAIN=local", "GOROOT="+root, "PATH="+bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("tests with %s: %w", version, err)
	}
	return nil
}

// build builds the echo image with the release in root.
func build(ctx context.Context, root, version, profile, work string) (string, error) {
	image := filepath.Join(work, profile, "echo.elf")
	if err := os.MkdirAll(filepath.Dir(image), 0o755); err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "go", "run", "ampoule/tools/mkimage", "-app", "echo", "-target", "virtio",
		"-goroot", root, "-work", work, "-profile", profile, "-o", image)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("the echo image, %s, does not build with %s: %w", profile, version, err)
	}
	return image, builtWith(image, version)
}

// fetch returns a GOROOT of version outside the module cache.
func fetch(ctx context.Context, version, work string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "env", "GOROOT", "GOMODCACHE")
	cmd.Env = append(os.Environ(), "GOTOOLCHAIN="+version)
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, strings.TrimSpace(string(exit.Stderr)))
		}
		return "", fmt.Errorf("fetch %s: %w", version, err)
	}
	root, cache, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	if !strings.HasPrefix(root, cache+string(filepath.Separator)) {
		return root, nil
	}
	to, err := filepath.Abs(filepath.Join(work, "toolchains", version))
	if err != nil {
		return "", err
	}
	return to, copyTree(root, to)
}

// copyTree copies from to to unless that was done before. It writes beside to
// and renames, so that an interrupted copy is not taken for a whole one.
func copyTree(from, to string) error {
	if _, err := os.Stat(to); err == nil {
		return nil
	}
	part := to + ".part"
	if err := os.RemoveAll(part); err != nil {
		return err
	}
	err := filepath.WalkDir(from, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, p)
		if err != nil {
			return err
		}
		dst := filepath.Join(part, rel)
		if d.IsDir() {
			return os.MkdirAll(dst, 0o755)
		}
		st, err := d.Info()
		if err != nil {
			return err
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		return os.WriteFile(dst, b, st.Mode().Perm()|0o200) // the cache is read-only
	})
	if err != nil {
		return fmt.Errorf("copy %s: %w", from, err)
	}
	return os.Rename(part, to)
}

// builtWith checks what the image says it was built with.
func builtWith(image, version string) error {
	info, err := buildinfo.ReadFile(image)
	if err != nil {
		return fmt.Errorf("%s: %w", image, err)
	}
	// Experiments follow the release: "go1.27.1-X:name", before 1.26 " X:name".
	got := info.GoVersion
	if end := strings.IndexAny(got, " -"); end > 0 {
		got = got[:end]
	}
	if got != version {
		return fmt.Errorf("%s was built with %s, not %s", image, info.GoVersion, version)
	}
	return nil
}

// boot asks the image on m over UDP and TCP.
func boot(ctx context.Context, image string, m vm.Machine) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	s := load.Echo(100)
	v, err := vm.Start(ctx, vm.Config{Image: image, Machine: m, RAM: 64, RNG: true,
		Net: vm.Net{Kind: vm.NetUser, Forwards: []vm.Forward{{Proto: "udp", Port: s.Port}, {Proto: "tcp", Port: s.Port}}}})
	if err != nil {
		return err
	}
	defer v.Close()
	var d net.Dialer
	up, stop := context.WithTimeout(ctx, 30*time.Second)
	defer stop()
	if _, err := load.Probe(up, d.DialContext, v.Addr("udp", s.Port), s, 20*time.Millisecond); err != nil {
		return fmt.Errorf("%w\ncommand: %s\nconsole:\n%s", err, v.Command(), v.Console())
	}
	c, err := d.DialContext(ctx, "tcp", v.Addr("tcp", s.Port))
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if err := load.Stream(c, s, 1); err != nil {
		return fmt.Errorf("TCP: %w\nconsole:\n%s", err, v.Console())
	}
	return nil
}
