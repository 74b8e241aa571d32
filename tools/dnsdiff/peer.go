package dnsdiff

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"ampoule/libos/freeport"
)

// Server answers questions.
type Server interface {
	// Ask returns an answer for each question, nil where there was none. It blocks
	// until all have been asked.
	Ask(questions []Question) ([][]byte, error)
	Close() error
}

// Peer is a name server on the loopback interface that this process started.
type Peer struct {
	client
	cmd   *exec.Cmd
	log   *os.File
	ended <-chan struct{} // its port is released too
}

const nsdConfig = `server:
	ip-address: 127.0.0.1@%[1]d
	zonesdir: %[2]q
	zonelistfile: "%[2]s/zone.list"
	xfrdfile: "%[2]s/xfrd.state"
	xfrdir: %[2]q
	pidfile: "%[2]s/nsd.pid"
	database: ""
	username: ""
	server-count: 1
	tcp-count: 10
	minimal-responses: yes
	refuse-any: no
	hide-version: yes
	hide-identity: yes
	rrl-ratelimit: 0
	ipv4-edns-size: 1232
	nsid: "ascii_ns1"
remote-control:
	control-enable: no
`

const knotConfig = `server:
    listen: 127.0.0.1@%[1]d
    rundir: %[2]q
    pidfile: %[2]q/knot.pid
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
    udp-max-payload: 1232
    nsid: ns1
database:
    storage: %[2]q
log:
  - target: stderr
    any: warning
template:
  - id: default
    storage: %[2]q
    semantic-checks: off
    journal-content: none
    zonefile-sync: -1
zone:
`

// StartNSD starts NSD with the zones, its files in dir.
func StartNSD(ctx context.Context, dir string, zones []Zone) (*Peer, error) {
	port, release, err := freeport.Reserve()
	if err != nil {
		return nil, err
	}
	conf := fmt.Sprintf(nsdConfig, port, dir)
	for _, z := range zones {
		conf += fmt.Sprintf("zone:\n\tname: %q\n\tzonefile: %q\n", z.Origin, z.File)
	}
	return start(ctx, dir, "nsd", conf, port, release, zones, "-d", "-c")
}

// StartKnot starts Knot with the zones, its files in dir.
func StartKnot(ctx context.Context, dir string, zones []Zone) (*Peer, error) {
	port, release, err := freeport.Reserve()
	if err != nil {
		return nil, err
	}
	conf := strings.ReplaceAll(fmt.Sprintf(knotConfig, port, dir), `"/knot.pid`, `/knot.pid"`)
	for _, z := range zones {
		conf += fmt.Sprintf("  - domain: %q\n    file: %q\n", z.Origin, z.File)
	}
	return start(ctx, dir, "knotd", conf, port, release, zones, "-c")
}

// start starts a program with its configuration and waits until it has all zones. It
// releases the port when the program has ended.
func start(ctx context.Context, dir, program, conf string, port int, release func() error, zones []Zone, args ...string) (*Peer, error) {
	started := false
	defer func() {
		if !started {
			release()
		}
	}()
	if _, err := exec.LookPath(program); err != nil {
		return nil, fmt.Errorf("dnsdiff: %w: run make setup", err)
	}
	file := filepath.Join(dir, program+".conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, program+".log"))
	if err != nil {
		return nil, err
	}
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	p := &Peer{client: client{addr: addr, dial: new(net.Dialer).DialContext}, log: log}
	p.cmd = exec.CommandContext(ctx, program, append(args, file)...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(os.Interrupt) }
	p.cmd.WaitDelay = 10 * time.Second
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	p.ended, started = ended, true
	go func() {
		p.cmd.Wait() // it is asked to end, or its log says why it did
		release()
		close(ended)
	}()
	if err := p.ready(ctx, zones); err != nil {
		p.Close()
		text, _ := os.ReadFile(log.Name())
		return nil, fmt.Errorf("%s: %w\n%s", program, err, text)
	}
	return p, nil
}

// ready waits until every zone is served.
func (p *Peer) ready(ctx context.Context, zones []Zone) error {
	deadline := time.Now().Add(20 * time.Second)
	for _, z := range zones {
		for {
			answers, err := p.Ask([]Question{newQuestion(z.table.Name(z.table.Apex()), typeSOA)})
			if err == nil && answers[0] != nil && answers[0][3]&15 == 0 && answers[0][7] == 1 {
				break
			}
			select {
			case <-p.ended:
				return errors.New("dnsdiff: it ended")
			case <-time.After(100 * time.Millisecond):
			}
			if time.Now().After(deadline) || ctx.Err() != nil {
				return fmt.Errorf("dnsdiff: does not serve %s: %v", z.Origin, err)
			}
		}
	}
	p.fence = fence(zones)
	return nil
}

// Close ends the program.
func (p *Peer) Close() error {
	p.client.close()
	p.cmd.Process.Signal(os.Interrupt)
	<-p.ended
	return p.log.Close()
}
