package guesttest

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"ampoule/libos/mgmt/mgmttest"
	"ampoule/tools/boottest/vm"
	"ampoule/tools/guesttest/guest"
	"ampoule/tools/guesttest/rotation"
)

// tlsManagedTOML is a terminator that has all its certificates through the management
// plane; the %s is the folder.
const tlsManagedTOML = `hostname = "edge"
[network]
ipv4 = "10.0.2.15/24"
[management]
client_ca = "%[1]s/clients.pem"
disk = true
pprof = true
capture = true
handshakes = 200
[tls]
alpn = ["http/1.1"]
connect = "20s"
ticket_rotation = "1h"
[tls.clients]
required = false
[[tls.backends]]
address = "10.0.2.2:8080"
`

const (
	tlsPlane   = "10.0.2.15:9443"
	tlsService = "10.0.2.15:443"
)

// tlsManaged is the image, its clients' authority and a segment.
type tlsManaged struct {
	*vm.VM
	t *testing.T
	*tlsRig
	image         string
	ca            *mgmttest.Pair
	operate, read *mgmttest.Pair
}

// TestTLSManaged is about one image of the terminator with a management plane.
func TestTLSManaged(t *testing.T) {
	m := newTLSManaged(t, "managed", "")
	for _, test := range []struct {
		name string
		f    func(*tlsManaged)
	}{{"Clients", (*tlsManaged).clients}, {"Kept", (*tlsManaged).kept}, {"Access", (*tlsManaged).access}, {"Rotation", (*tlsManaged).rotation}} {
		t.Run(test.name, func(t *testing.T) {
			one := *m
			one.t = t
			test.f(&one)
		})
	}
}

// newTLSManaged builds the image name, with more of a configuration, and makes what its
// clients need.
func newTLSManaged(t *testing.T, name, more string) *tlsManaged {
	t.Helper()
	m := &tlsManaged{t: t, tlsRig: newTLSRig(t), ca: mgmttest.Root(t, "clients")}
	m.operate = m.ca.Issue(t, mgmttest.Spec{Name: "alice", Unit: "ampoule-operate", Client: true})
	m.read = m.ca.Issue(t, mgmttest.Spec{Name: "bob", Unit: "ampoule-read", Client: true})
	if err := os.WriteFile(filepath.Join(m.dir, "clients.pem"), m.ca.Cert(), 0o600); err != nil {
		t.Fatal(err)
	}
	m.image = images.Configured(t, "tls", name, fmt.Sprintf(tlsManagedTOML, m.dir)+more, tlsVariant.GOAMD64)
	t.Cleanup(func() { os.Remove(m.image) })
	return m
}

// TestTLSManagedBackends is TestTLSBackends while certificates rotate without a pause:
// neither disturbs the other.
func TestTLSManagedBackends(t *testing.T) {
	m := newTLSManaged(t, "managed-backends", "[[tls.backends]]\naddress = \"10.0.2.2:8082\"\n[tls.health]\nevery = \"1s\"\nfall = 2\nrise = 1\n")
	one, two := m.nginx(t, 8080, 8081), m.nginx(t, 8082, 8083)
	m.start(vm.Config{Append: rotation.StoreArgument})
	op := m.plane(m.operate)
	values := func() map[string][]byte { return map[string][]byte{"certificates/default": m.bundle(t, "www")} }
	m.commit(op, values())
	first := op.Generation()
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
			}
			m.renew(t, "www")
			for name, data := range values() {
				if err := op.Stage(name, data); err != nil {
					t.Error(err)
					return
				}
			}
			if err := op.Commit(); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	end := sync.OnceFunc(func() { close(stop); <-stopped })
	defer end()
	m.killed(t, m.VM, one, two)
	for _, port := range []string{"8080", "8082"} {
		m.get(m.plane(m.read), "/metrics", 200, `ampoule_tls_backend_up{backend="10.0.2.2:`+port+`"} 1`)
	}
	end()
	if n := op.Generation() - first; n < 100 {
		t.Errorf("%d rotations only", n)
	} else {
		t.Logf("%d rotations", n)
	}
}

// start boots the image and waits until its plane listens; c says how, beside what all
// have.
func (m *tlsManaged) start(c vm.Config) {
	m.t.Helper()
	c.Image, c.Machine, c.CPU, c.RAM, c.RNG, c.Net = m.image, tlsVariant.Machine, guest.CPU(tlsVariant.GOAMD64), 64, true, m.s.Net()
	m.VM = guest.Boot(m.t, c)
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(m.t.Context(), time.Second)
		c, err := m.s.DialContext(ctx, "tcp", tlsPlane)
		cancel()
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(end) {
			m.t.Fatalf("no connection: %v", err)
		}
	}
}

// plane is a client of the plane.
func (m *tlsManaged) plane(who *mgmttest.Pair) *rotation.Plane {
	return rotation.NewPlane(m.t, m.s.DialContext, tlsPlane, who)
}

// echoes serves at the backend's address until the test ends.
func (m *tlsManaged) echoes() {
	m.t.Helper()
	l, err := m.s.Listen("10.0.2.2:8080")
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); io.Copy(c, c) }()
		}
	}()
}

// pace is the time from one rotation to the next, unless that takes longer.
var pace = flag.Duration("rotation-pace", 20*time.Millisecond, "time of the guest's CPU from one rotation to the next")

// rotation: 1,000 rotations amid handshakes and streams. How much longer handshakes take
// meanwhile is logged, and hangs on the pace.
//
// Handshakes are measured, and rotations paced, in time that the guest's CPU has run,
// which other work on this machine does not stretch: the clients never pause, so that
// the guest is never idle and what it does between a handshake's beginning and end is
// all that the handshake waits for.
func (m *tlsManaged) rotation() {
	m.echoes()
	m.start(vm.Config{Append: rotation.StoreArgument})
	res := rotation.Run(m.t, rotation.Config{Dial: m.s.DialContext, Service: tlsService, Plane: tlsPlane, Operator: m.operate,
		Clients: 4, Streams: 4, Rotations: 1000, Blocks: 20, Now: m.cpuTime(), Every: *pace, Quiet: 500*time.Millisecond + 2**pace})
	res.Hold(m.t)
	if res.Rotations != 1000 || res.Generations < 500 || len(res.Quiet) < 200 || len(res.Rotated) < 1000 || res.Lines < 400 {
		m.t.Errorf("too little was seen")
	}
}

// cpuTime is a clock of the time that the guest's CPU has run (proc(5), schedstat).
func (m *tlsManaged) cpuTime() func() time.Duration {
	m.t.Helper()
	text, err := m.Monitor("info cpus")
	if err != nil {
		m.t.Fatal(err)
	}
	id := regexp.MustCompile(`thread_id=(\d+)`).FindStringSubmatch(text)
	if id == nil {
		m.t.Fatalf("no thread in %q", text)
	}
	name := fmt.Sprintf("/proc/%d/task/%s/schedstat", m.Process().Pid, id[1])
	read := func() (time.Duration, error) {
		b, err := os.ReadFile(name)
		if err != nil {
			return 0, err
		}
		first, _, _ := strings.Cut(string(b), " ")
		n, err := strconv.ParseInt(first, 10, 64)
		return time.Duration(n), err
	}
	if _, err := read(); err != nil {
		m.t.Fatal(err)
	}
	return func() time.Duration {
		n, _ := read() // of a VM that has ended it is 0; the test sees that elsewhere
		return n
	}
}
