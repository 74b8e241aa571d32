package peertest

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// KeyName is that of the key that all servers have.
const KeyName = "transfer.key."

// Other is NSD or Knot.
type Other struct {
	t    testing.TB
	Dir  string
	Port int
	Stop func()
	ctl  []string
}

// NSD starts NSD with zone clauses and its remote control. In zones, the file of a
// zone lies in the folder of the test.
func NSD(t testing.TB, dir string, port int, zones string) *Other {
	t.Helper()
	conf := Write(t, dir, "nsd.conf", fmt.Sprintf(`server:
	ip-address: 127.0.0.1@%[1]d
	zonesdir: %[2]q
	zonelistfile: "%[2]s/zone.list"
	xfrdfile: "%[2]s/xfrd.state"
	xfrdir: %[2]q
	pidfile: "%[2]s/nsd.pid"
	database: ""
	username: ""
	server-count: 1
	xfrd-reload-timeout: 0
	rrl-ratelimit: 0
	verbosity: 2
remote-control:
	control-enable: yes
	control-interface: "%[2]s/nsd.ctl"
key:
	name: %[3]q
	algorithm: hmac-sha256
	secret: %[4]q
key:
	name: "wrong.key."
	algorithm: hmac-sha256
	secret: "d3Jvbmc="
%[5]s`, port, dir, KeyName, Secret64, zones))
	o := &Other{t, dir, port, Run(t, dir, "nsd", "-d", "-c", conf), []string{"nsd-control", "-c", conf}}
	o.up()
	return o
}

// Knot starts Knot with more of its configuration.
func Knot(t testing.TB, dir string, port int, more string) *Other {
	t.Helper()
	conf := Write(t, dir, "knot.conf", fmt.Sprintf(`server:
    rundir: %[2]q
    listen: 127.0.0.1@%[1]d
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
database:
    storage: %[2]q
log:
  - target: stderr
    any: info
key:
  - id: %[3]s
    algorithm: hmac-sha256
    secret: %[4]s
  - id: wrong.key.
    algorithm: hmac-sha256
    secret: d3Jvbmc=
template:
  - id: default
    storage: %[2]q
    semantic-checks: off
    zonefile-sync: -1
    journal-content: changes
%[5]s`, port, dir, KeyName, Secret64, more))
	o := &Other{t, dir, port, Run(t, dir, "knotd", "-c", conf), []string{"knotc", "-c", conf, "-s", filepath.Join(dir, "knot.sock")}}
	o.up()
	return o
}

// up waits until the server answers anything.
func (o *Other) up() {
	o.t.Helper()
	Until(o.t, 20*time.Second, func() string { return Dig(o.t, o.Port, "version.bind", "TXT", "CH") }, Has("status:"))
}

// Control runs the server's control program.
func (o *Other) Control(args ...string) string {
	o.t.Helper()
	out, err := exec.Command(o.ctl[0], append(o.ctl[1:], args...)...).CombinedOutput()
	if err != nil {
		o.t.Fatalf("%v %v: %v\n%s", o.ctl, args, err, out)
	}
	return strings.TrimSpace(string(out))
}
