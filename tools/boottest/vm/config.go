// Package vm boots images in QEMU for tests and measurements: any PVH ELF, on
// the machine types microvm (virtio-mmio) and q35 (virtio-pci), both modern
// virtio only.
//
// A VM belongs to whoever called Start, who must Close it. QEMU also dies when
// the context of Start ends, and with the calling process, however that ends:
// no test can leave one behind. Nothing here depends on package testing.
//
// An image tells its exit code through QEMU's isa-debug-exit device at port
// ExitPort: a byte of 0 to 127.
package vm

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// ExitPort is the I/O port that a guest writes its exit code to.
const ExitPort = 0x501

// Machine is a QEMU machine type.
type Machine string

const (
	MicroVM Machine = "microvm" // virtio-mmio, no PCI, qboot
	Q35     Machine = "q35"     // virtio-pci, SeaBIOS
)

// Machines lists all that an image must run on.
var Machines = [...]Machine{MicroVM, Q35}

// Config says what to boot and on what. The zero value of a field is its
// default; only Image has none.
type Config struct {
	Image   string   // a PVH ELF
	Machine Machine  // default MicroVM
	RAM     int      // MiB, default 64
	CPU     string   // QEMU's CPU model, default "max"
	Accel   string   // "tcg" (default) or "kvm", which fails where /dev/kvm is not usable
	Net     Net      // default: no network device
	RNG     bool     // a virtio-rng device
	Append  string   // kernel command line
	Args    []string // further QEMU arguments, as they are

	Binary       string        // QEMU, default "qemu-system-x86_64"
	Files        []*os.File    // further descriptors for QEMU, numbered from ExtraFD; stay the caller's
	ConsoleLimit int           // bytes of console kept, default 1 MiB; the middle goes first
	Tee          func(string)  // called with each console line, from one goroutine; must not block for long
	StartTimeout time.Duration // for QEMU itself to come up, default 30 s
}

// ExtraFD is the descriptor number under which QEMU sees Config.Files[0].
const ExtraFD = 10

// NetKind says what is at the other end of the guest's network device.
type NetKind int

const (
	NetNone   NetKind = iota // no network device
	NetUser                  // QEMU's own user-mode network, with Forwards
	NetSocket                // a datagram socket, one Ethernet frame each: see SocketPair
	NetTap                   // a tap device's descriptor, with its offloads
)

// Net describes the guest's network device.
type Net struct {
	Kind     NetKind
	Forwards []Forward // NetUser only
	File     *os.File  // NetSocket, NetTap; stays the caller's
	MAC      string    // default MAC
	Model    string    // of the device; default virtio-net, as the machine connects it
	Device   string    // further properties of the device: "mrg_rxbuf=off,csum=off"
	User     string    // NetUser only: further properties of the network: "restrict=on"
}

// Fixed addresses of the user-mode network, used on every other kind too so
// that an image needs to know but one.
const (
	MAC       = "52:54:00:12:34:56"
	GuestIPv4 = "10.0.2.15" // of 10.0.2.0/24
	HostIPv4  = "10.0.2.2"
	GuestIPv6 = "fec0::15" // of fec0::/64
	HostIPv6  = "fec0::2"
)

// Forward asks for a port of 127.0.0.1 that leads to a port of the guest's
// IPv4 address. QEMU chooses the port: VM.Forwarded tells it. (QEMU's user-mode
// network forwards to no IPv6 guest; use NetSocket or NetTap for IPv6.)
type Forward struct {
	Proto string // "udp" or "tcp"
	Port  int    // of the guest
	Guest string // its address, where several share the network; default: the first that DHCP gives
}

func (f Forward) String() string {
	if f.Guest == "" {
		return fmt.Sprintf("%s:%d", f.Proto, f.Port)
	}
	return fmt.Sprintf("%s:%s:%d", f.Proto, f.Guest, f.Port)
}

// ParseForwards reads "udp:7,tcp:7".
func ParseForwards(s string) ([]Forward, error) {
	var out []Forward
	for _, f := range strings.Split(s, ",") {
		if f == "" {
			continue
		}
		proto, port, ok := strings.Cut(f, ":")
		var n int
		if _, err := fmt.Sscanf(port, "%d", &n); !ok || err != nil || n < 1 || n > 65535 || proto != "udp" && proto != "tcp" {
			return nil, fmt.Errorf("vm: forward %q: want udp:PORT or tcp:PORT", f)
		}
		out = append(out, Forward{Proto: proto, Port: n})
	}
	return out, nil
}

// withDefaults fills in what was left out and refuses what cannot work.
func (c Config) withDefaults() (Config, error) {
	def := func(s *string, v string) {
		if *s == "" {
			*s = v
		}
	}
	def((*string)(&c.Machine), string(MicroVM))
	def(&c.CPU, "max")
	def(&c.Accel, "tcg")
	def(&c.Binary, "qemu-system-x86_64")
	def(&c.Net.MAC, MAC)
	if c.RAM == 0 {
		c.RAM = 64
	}
	if c.ConsoleLimit == 0 {
		c.ConsoleLimit = 1 << 20
	}
	if c.StartTimeout == 0 {
		c.StartTimeout = 30 * time.Second
	}
	return c, c.check()
}

func (c *Config) check() error {
	switch {
	case c.Machine != MicroVM && c.Machine != Q35:
		return fmt.Errorf("vm: machine %q: want %s or %s", c.Machine, MicroVM, Q35)
	case c.Accel != "tcg" && c.Accel != "kvm":
		return fmt.Errorf("vm: accelerator %q: want tcg or kvm", c.Accel)
	case c.RAM < 1:
		return fmt.Errorf("vm: %d MiB of RAM", c.RAM)
	case (c.Net.Kind == NetSocket || c.Net.Kind == NetTap) && c.Net.File == nil:
		return fmt.Errorf("vm: a socket or tap network without a File")
	case c.Net.Kind != NetUser && len(c.Net.Forwards) > 0:
		return fmt.Errorf("vm: port forwards need the user-mode network")
	}
	if _, err := os.Stat(c.Image); err != nil {
		return fmt.Errorf("vm: image: %w", err)
	}
	if c.Accel == "kvm" {
		f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
		if err != nil {
			return fmt.Errorf("vm: kvm was asked for: %w", err)
		}
		f.Close()
	}
	return nil
}

// Descriptor numbers inside QEMU.
const (
	monitorFD = 3
	netFD     = 4
)

// args is QEMU's command line.
func (c *Config) args() []string {
	a := []string{
		"-accel", c.Accel, "-cpu", c.CPU,
		// With -smp 1 this QEMU's TCG leaves out the guest's memory fences, as
		// no second processor could tell; but its device threads can, and
		// notifications get lost.
		"-smp", "1,maxcpus=2",
		"-m", fmt.Sprint(c.RAM), "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-kernel", c.Image, "-serial", "stdio",
		"-chardev", fmt.Sprintf("socket,id=monitor,fd=%d", monitorFD), "-mon", "chardev=monitor,mode=control", "-S",
		"-device", fmt.Sprintf("isa-debug-exit,iobase=%#x,iosize=1", ExitPort),
	}
	suffix := "device"
	if c.Machine == MicroVM {
		// ACPI off is what makes QEMU list the devices on the command line.
		a = append(a, "-M", "microvm,acpi=off,pit=on,pic=on,rtc=on", "-global", "virtio-mmio.force-legacy=false")
	} else {
		a = append(a, "-M", "q35")
		suffix = "pci,disable-legacy=on,romfile="
	}
	if c.RNG {
		rng := strings.TrimSuffix(suffix, ",romfile=")
		a = append(a, "-object", "rng-random,filename=/dev/urandom,id=rng0", "-device", "virtio-rng-"+rng+",rng=rng0")
	}
	if dev := c.netdev(); dev != "" {
		d := c.Net.Model
		if d == "" {
			d = "virtio-net-" + suffix
		}
		d += ",netdev=net0,mac=" + c.Net.MAC
		if c.Net.Device != "" {
			d += "," + c.Net.Device
		}
		a = append(a, "-netdev", dev, "-device", d)
	}
	if c.Append != "" {
		a = append(a, "-append", c.Append)
	}
	return append(a, c.Args...)
}

func (c *Config) netdev() string {
	switch c.Net.Kind {
	case NetUser:
		s := "user,id=net0"
		if c.Net.User != "" {
			s += "," + c.Net.User
		}
		for _, f := range c.Net.Forwards {
			s += fmt.Sprintf(",hostfwd=%s:127.0.0.1:0-%s:%d", f.Proto, f.Guest, f.Port)
		}
		return s
	case NetSocket:
		return fmt.Sprintf("dgram,id=net0,local.type=fd,local.str=%d", netFD)
	case NetTap:
		return fmt.Sprintf("tap,id=net0,fd=%d,vhost=off", netFD)
	}
	return ""
}
