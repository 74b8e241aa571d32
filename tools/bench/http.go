package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"ampoule/tools/bench/counter"
	"ampoule/tools/bench/peer"
	"ampoule/tools/load"
	"ampoule/tools/xenrig/dom0"
)

// site is what both servers serve: files that no coding makes smaller.
var site = map[string][]byte{"/1k": noise(1 << 10), "/100k": noise(100 << 10)}

// noise is n bytes, always the same, that look random.
func noise(n int) []byte {
	b, x := make([]byte, n), uint64(88172645463325252)
	for i := range b {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[i] = byte(x >> 32)
	}
	return b
}

// httpLarge asks for 100 KiB on one connection.
var httpLarge = stream{"http-large", func(n int) int { return max(n/10, 1) }, func(ctx context.Context, m *machine, n int) error {
	l := load.Streams{Requests: n, Clients: 1, Pause: lone.Pause}
	return l.Run(ctx, m.dial, m.tcpAddr, load.HTTP("/100k", site["/100k"]))
}}

// httpPoints are what is measured of a web server, with what we want of it.
var httpPoints = []struct {
	name string
	goal float64
	stream
}{
	{"one request, kept alive, 1 KiB, saturated", 12_000, tcpSaturated},
	{"one request, kept alive, 1 KiB, lone", 13_000, tcpLone},
	{"one connection with a request, 1 KiB", 90_000, tcpConnect},
	{"one request, kept alive, 100 KiB, lone", 31_000, httpLarge},
}

// siteImage builds the image name with the site in dir/www, and more of a configuration.
func siteImage(ctx context.Context, dir, name, more, mkimage string, symbols bool) (string, error) {
	config, image := filepath.Join(dir, name+".toml"), filepath.Join(dir, name+".elf")
	const text = "[network]\nipv4 = \"10.0.2.15/24\"\ngateway4 = \"10.0.2.2\"\nipv6 = [\"fec0::15/64\"]\ngateway6 = \"fec0::2\"\n[[http.sites]]\nfolder = \"www\"\n"
	if err := os.WriteFile(config, []byte(text+more), 0o644); err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, mkimage, "-app", "http", "-config", config, fmt.Sprintf("-strip=%t", !symbols), "-o", image)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("mkimage: %w\n%s", err, out)
	}
	return image, nil
}

// writeSite writes the site to dir/www.
func writeSite(dir string) error {
	www := filepath.Join(dir, "www")
	if err := os.Mkdir(www, 0o755); err != nil {
		return err
	}
	for path, content := range site {
		if err := os.WriteFile(filepath.Join(www, path), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// web measures the HTTP appliance and, unless plain, nginx beside it, and prints two
// tables, for plain HTTP and for HTTPS; or with prof, the name of a point, where the
// appliance's instructions go. An image that is given is measured without HTTPS.
func (b *bench) web(ctx context.Context, w io.Writer, mkimage, prof string, plain bool, v view) error {
	dir, err := os.MkdirTemp("", "ampoule-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := writeSite(dir); err != nil {
		return err
	}
	p, err := newPairs()
	if err != nil {
		return err
	}
	given := b.images["http"] != ""
	if !given {
		if b.images["http"], err = siteImage(ctx, dir, "http", "", mkimage, prof != ""); err != nil {
			return err
		}
		if err := b.secureImage(ctx, dir, mkimage, prof != "", p); err != nil {
			return err
		}
	}
	if secure := slices.ContainsFunc(httpsPoints, func(p httpsPoint) bool { return p.point == prof }); prof != "" && !secure {
		return b.profile(ctx, "http", prof, "", v)
	} else if secure && given {
		return errors.New("-image has no HTTPS that bench could ask")
	} else if secure {
		return b.profileHTTPS(ctx, p, prof, v)
	}
	if !plain {
		err := b.makeNginx(ctx, p)
		if plain = errors.Is(err, dom0.ErrPackages); plain { // our own figures are worth having without
			fmt.Fprintf(os.Stderr, "NOTICE: NO FIGURES OF NGINX: %v\n", err)
		} else if err != nil {
			return fmt.Errorf("nginx: %w", err)
		}
	}
	if err := b.plainWeb(ctx, w, plain); err != nil || given {
		return err
	}
	return b.secureWeb(ctx, w, p, plain)
}

// plainWeb prints the table of plain HTTP.
func (b *bench) plainWeb(ctx context.Context, w io.Writer, plain bool) error {
	ours, err := b.webFigures(ctx, "http")
	if err != nil {
		return fmt.Errorf("http: %w", err)
	}
	ram, err := b.minRAM(ctx, "http")
	if err != nil {
		return fmt.Errorf("http: smallest RAM: %w", err)
	}
	size, err := os.Stat(b.images["http"])
	if err != nil {
		return err
	}
	var theirs []Point
	if !plain {
		if theirs, err = b.webFigures(ctx, peer.Nginx); err != nil {
			return fmt.Errorf("nginx: %w", err)
		}
	}
	fmt.Fprintf(w, "%-56s %12s %12s %12s\n", "", "http", "goal", "nginx, Linux")
	fmt.Fprintf(w, "%-56s %12s %12s %12s\n", "image with the site, bytes", group(float64(size.Size())), group(4_500_000), b.linuxSize())
	fmt.Fprintf(w, "%-56s %12d %12d %12s\n", "smallest RAM that serves, MiB", ram, 20, "-")
	for i, p := range httpPoints {
		other := "-"
		if theirs != nil {
			other = group(theirs[i].Plain)
		}
		fmt.Fprintf(w, "%-56s %12s %12s %12s\n", p.name+", instructions", group(ours[i].Plain), group(p.goal), other)
		fmt.Fprintf(w, "%-56s %12.1f\n", "  spread of the runs, percent", ours[i].Spread)
	}
	return nil
}

// makeNginx makes its small Linux VM.
func (b *bench) makeNginx(ctx context.Context, p pairs) error {
	chain, key, err := p.bundle()
	if err != nil {
		return err
	}
	b.guests[peer.Nginx], err = peer.MakeWeb(ctx, b.cache, peer.Site{Files: site, Chain: chain, Key: key},
		func(s string) { fmt.Fprintln(os.Stderr, s) })
	return err
}

// linuxSize is how many bytes nginx's kernel and initramfs have, if it was measured.
func (b *bench) linuxSize() string {
	n := int64(0)
	for _, file := range []string{b.guests[peer.Nginx].Kernel, b.guests[peer.Nginx].Initrd} {
		st, err := os.Stat(file)
		if err != nil {
			return "-"
		}
		n += st.Size()
	}
	return group(float64(n))
}

// webFigures measures the points of one server, all in one boot.
func (b *bench) webFigures(ctx context.Context, app string) ([]Point, error) {
	m, err := b.start(ctx, app, b.ram, true, false)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	if err := m.up(ctx, b.limit(app)); err != nil {
		return nil, err
	}
	var points []Point
	for _, p := range httpPoints {
		n := p.units(b.requests)
		var cs []counter.Counts
		for i := range b.runs + 1 { // the first warms up
			time.Sleep(200 * time.Millisecond)
			before := m.counter.Read()
			if err := m.explained(p.run(ctx, m, n)); err != nil {
				return nil, fmt.Errorf("%s: %w", p.name, err)
			}
			if i > 0 {
				cs = append(cs, m.counter.Read().Sub(before))
			}
		}
		points = append(points, point(cs, n))
	}
	return points, nil
}
