// Command reproduce proves that images are reproducible: it builds them twice,
// from copies of this tree in folders of different names, with caches, home and
// permissions of their own, the second time as another user where it may, and
// compares the SHA-256 of every file.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"ampoule/tools/workspace"
)

func main() {
	seed := flag.String("seed", "", "seed to build with (default: the sources' own)")
	keep := flag.Bool("keep", false, "leave both copies where they are")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	same, err := run(ctx, os.Stdout, *seed, *keep, flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "reproduce:", err)
	}
	if err != nil || !same {
		os.Exit(1)
	}
}

// nobody is the user of the second build, if root runs this.
const nobody = 65534

func run(ctx context.Context, w io.Writer, seed string, keep bool, images []string) (same bool, err error) {
	if len(images) == 0 {
		return false, fmt.Errorf("name the images, such as echo-virtio")
	}
	root, err := workspace.Root()
	if err != nil {
		return false, err
	}
	modules, err := exec.CommandContext(ctx, "go", "env", "GOMODCACHE", "GOPROXY").Output()
	if err != nil {
		return false, fmt.Errorf("go env: %w", err)
	}
	cache, proxy, _ := strings.Cut(strings.TrimSpace(string(modules)), "\n")
	// What has been downloaded before need not be again; another user may not be
	// able to read it where it is.
	served, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return false, err
	}
	server := &http.Server{Handler: http.FileServer(http.Dir(filepath.Join(cache, "cache", "download"))), ReadHeaderTimeout: time.Minute}
	go server.Serve(served)
	defer server.Close()
	builds := []*build{
		{name: "a", umask: 0o022, time: time.Unix(1e9, 0), env: []string{"TZ=UTC", "LC_ALL=C", "USER=alice"}},
		{name: "second-copy", umask: 0o077, time: time.Unix(17e8, 0), env: []string{"TZ=Asia/Kolkata", "LC_ALL=C.UTF-8", "USER=bob"}},
	}
	if os.Getuid() == 0 {
		builds[1].uid = nobody
	} else {
		fmt.Fprintln(w, "NOTE: both builds run as this user; only root can take another")
	}
	for _, b := range builds {
		if b.dir, err = os.MkdirTemp("", "ampoule-"+b.name+"-"); err != nil {
			return false, err
		}
		if keep {
			fmt.Fprintln(w, "build:", b.dir)
		} else {
			defer removeAll(b.dir)
		}
		b.env = append(b.env, "GOPROXY=http://"+served.Addr().String()+","+proxy, "GONOSUMDB=*", "SEED="+seed)
		if err := b.copyTree(ctx, root); err != nil {
			return false, err
		}
	}
	for _, b := range builds {
		began := time.Now()
		if err := b.make(ctx, images); err != nil {
			return false, err
		}
		fmt.Fprintf(w, "built %s as user %d in %s (%.0f s)\n", strings.Join(images, " "), b.user(), b.dir, time.Since(began).Seconds())
	}
	return compare(w, builds[0].tree(), builds[1].tree(), images)
}

// removeAll removes a folder with a module cache, whose folders are read-only.
func removeAll(dir string) {
	filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			os.Chmod(path, 0o700)
		}
		return nil
	})
	os.RemoveAll(dir)
}
