// Package peer makes small Linux VMs that serve the zone of the DNS appliance with
// the name servers that people run today, or a web site with nginx, so that bench can
// set figures beside ours. A VM is Debian's kernel for virtual machines, busybox and the server with
// the libraries it needs, downloaded into a cache and never installed; it has one
// processor and one worker, no logging of queries and no rate limiting.
package peer

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/miekg/dns"

	"ampoule/tools/boottest/vm"
	"ampoule/tools/xenrig/dom0"
)

// Names of the name servers there are. CoreDNS is no package of Debian 12.
func Names() []string { return []string{"nsd", "knot"} }

// Nginx is the name of the web server.
const Nginx = "nginx"

// VM is what QEMU boots.
type VM struct {
	Kernel string // a bzImage
	Initrd string
	Append string // kernel command line, beside what the machine needs
}

// zoneFile is where the VM has the zone, and origin what it is called.
const (
	zoneFile = "srv/example.org.zone"
	origin   = "example.org"
)

const nsdConf = `server:
	server-count: 1
	ip-address: %[1]s
	username: ""
	zonesdir: "/"
	zonelistfile: "/tmp/zone.list"
	xfrdfile: "/tmp/xfrd.state"
	xfrdir: "/tmp"
	pidfile: ""
	database: ""
	rrl-ratelimit: 0
remote-control:
	control-enable: no
zone:
	name: "%[2]s"
	zonefile: "%[3]s"
`

const knotConf = `server:
    rundir: /run/knot
    listen: %[1]s@53
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
log:
  - target: stderr
    any: error
database:
    storage: /var/lib/knot
zone:
  - domain: %[2]s
    file: /%[3]s
    zonefile-sync: -1
    journal-content: none
`

// nginxConf is what serves files best: one worker, no log, connections that last.
const nginxConf = `user root;
worker_processes 1;
daemon off;
pid /tmp/nginx.pid;
error_log stderr;
events { worker_connections 1024; }
http {
	sendfile on;
	tcp_nopush on;
	access_log off;
	keepalive_requests 100000000;
	default_type application/octet-stream;
	server {
		listen %[1]s:80;
		root /srv/www;
	}
	server {
		listen %[1]s:443 ssl http2;
		root /srv/www;
		ssl_certificate /etc/site.pem;
		ssl_certificate_key /etc/site.key;
		ssl_protocols TLSv1.3;
	}
}
`

// initScript brings the network up and becomes the server. Modules of the bus that
// is not there fail to load, which does no harm.
const initScript = `#!/bin/busybox sh
b=/bin/busybox
$b mount -t devtmpfs dev /dev
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
while read -r m; do $b insmod /modules/$m.ko; done </modules/order
$b ip link set lo up
$b ip addr add %[1]s/24 dev eth0
$b ip link set eth0 up
$b ip route add default via %[2]s
[ ! -f /%[4]s ] || $b touch /%[4]s
exec %[3]s
`

// linux is the VM of a server, but for the server.
func linux(name string) dom0.Plain {
	return dom0.Plain{
		Name:     name,
		Packages: []string{name, "busybox-static", "linux-image-cloud-amd64"},
		Modules:  []string{"virtio_pci", "virtio_mmio", "virtio_net"},
		Folders:  []string{"drivers/virtio/", "drivers/net/virtio_net", "drivers/net/net_failover", "net/core/"},
		Dirs:     []string{"var/lib/" + name, "run/" + name, "var/run"},
		Files: map[string]string{
			"etc/passwd":        "root:x:0:0::/:/bin/sh\n",
			"etc/group":         "root:x:0:\n",
			"etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
		},
	}
}

// become has p end its start by becoming a server.
func become(p dom0.Plain, server string) dom0.Plain {
	p.Init = fmt.Sprintf(initScript, vm.GuestIPv4, vm.HostIPv4, server, zoneFile)
	return p
}

// Site is what nginx serves, over HTTP and HTTPS.
type Site struct {
	Files      map[string][]byte // paths, which begin with a slash, and their content
	Chain, Key []byte            // of its certificate, as PEM
}

// web is the VM of nginx with a site.
func web(s Site) dom0.Plain {
	p := linux(Nginx)
	p.Programs, p.Dirs = []string{"/usr/sbin/nginx"}, append(p.Dirs, "var/log/nginx")
	p.Files["etc/server.conf"] = fmt.Sprintf(nginxConf, vm.GuestIPv4)
	p.Files["etc/site.pem"], p.Files["etc/site.key"] = string(s.Chain), string(s.Key)
	for path, content := range s.Files {
		p.Files["srv/www"+path] = string(content)
	}
	return become(p, "/usr/sbin/nginx -c /etc/server.conf")
}

// plain is the VM of a name server.
func plain(name string, zone []byte) (dom0.Plain, error) {
	p := linux(name)
	p.Files[zoneFile] = string(zone)
	server := ""
	switch name {
	case "nsd":
		p.Programs = []string{"/usr/sbin/nsd"}
		p.Files["etc/server.conf"] = fmt.Sprintf(nsdConf, vm.GuestIPv4, origin, zoneFile)
		server = "/usr/sbin/nsd -d -c /etc/server.conf"
	case "knot":
		p.Programs = []string{"/usr/sbin/knotd"}
		p.Files["etc/server.conf"] = fmt.Sprintf(knotConf, vm.GuestIPv4, origin, zoneFile)
		server = "/usr/sbin/knotd -c /etc/server.conf"
	default:
		return p, fmt.Errorf("peer: no server %q: there are %s", name, strings.Join(Names(), ", "))
	}
	return become(p, server), nil
}

// Make makes the VM of a server with a zone file for example.org. The first time it
// downloads packages into the cache, which takes half a minute and a network; an
// error is dom0.ErrPackages when they cannot be had. say is told what takes long.
func Make(ctx context.Context, cache, name, file string, say func(string)) (VM, error) {
	zone, err := expand(file)
	if err != nil {
		return VM{}, err
	}
	p, err := plain(name, zone)
	if err != nil {
		return VM{}, err
	}
	return prepare(ctx, cache, p, say)
}

// MakeWeb makes the VM of nginx with a site. For all else see Make.
func MakeWeb(ctx context.Context, cache string, site Site, say func(string)) (VM, error) {
	return prepare(ctx, cache, web(site), say)
}

func prepare(ctx context.Context, cache string, p dom0.Plain, say func(string)) (VM, error) {
	kernel, initrd, err := p.Prepare(ctx, cache, say)
	if err != nil {
		return VM{}, err
	}
	khz, err := tsc()
	if err != nil {
		return VM{}, err
	}
	// Under TCG Linux cannot always measure the TSC, which is the host's, and hangs.
	v := VM{Kernel: kernel, Initrd: filepath.Join(cache, p.Name+".cpio"),
		Append: fmt.Sprintf("console=ttyS0 quiet panic=-1 tsc_early_khz=%d", khz)}
	return v, os.WriteFile(v.Initrd, initrd, 0o644)
}

// expand is the zone in a file, a record on each line: NSD knows no $GENERATE.
func expand(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var out []byte
	z := dns.NewZoneParser(f, origin+".", file)
	for rr, ok := z.Next(); ok; rr, ok = z.Next() {
		out = fmt.Appendln(out, rr)
	}
	if err := z.Err(); err != nil {
		return nil, fmt.Errorf("peer: %w", err)
	}
	return out, nil
}

// tsc is the frequency of this machine's TSC in kHz, as the kernel reports it.
func tsc() (int, error) {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(line, ":")
		if strings.TrimSpace(name) == "cpu MHz" {
			var mhz float64
			if _, err := fmt.Sscan(value, &mhz); err != nil {
				return 0, fmt.Errorf("peer: /proc/cpuinfo: %w", err)
			}
			return int(mhz * 1000), nil
		}
	}
	return 0, fmt.Errorf("peer: /proc/cpuinfo has no frequency")
}
