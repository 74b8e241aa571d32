package appliance

import (
	"context"
	"errors"
	"os"
	"time"

	"ampoule/libos/config"
	"ampoule/libos/config/feature"
	"ampoule/libos/device"
	"ampoule/libos/format"
	"ampoule/libos/netif"
	"ampoule/libos/pvboot"
	"ampoule/libos/telemetry"
	"ampoule/libos/telemetry/syslog"
)

// Run is the main function of an appliance: it opens the machine, brings up
// the network, makes the appliance and serves. It does not return: when the
// appliance can't go on it says why on the console and exits with code 1, and
// with 0 when Serve ended without an error.
func Run(open func() (*pvboot.Machine, error), sys config.System, name string, n New) {
	m, err := open()
	if err != nil {
		os.Stderr.WriteString(name + ": " + err.Error() + "\n")
		os.Exit(1)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	go hear(m, cancel)
	if err := run(ctx, m, sys, name, n); err != nil {
		format.Fprintf(m.Console, "%s: %v\n", name, err)
		sync(m)
		os.Exit(1)
	}
	sync(m)
	if errors.Is(context.Cause(ctx), errRestart) && m.Restart != nil {
		m.Restart()
	}
	os.Exit(0)
}

// What the linker sets (-X): the first digits of the image's fingerprints, as its
// manifest has them whole. build stands for all that the image is made from and
// its seed, and tells neither; configuration for what was compiled from the
// configuration file.
var build, configuration = "unknown", "unknown"

// lastWords is how long a slow console may take for what the VM still has to
// say.
const lastWords = time.Second

// sync lets the console finish, if it is one that keeps something back.
func sync(m *pvboot.Machine) {
	if c, ok := m.Console.(interface{ Sync(time.Duration) bool }); ok {
		c.Sync(lastWords)
	}
}

var (
	errOff     = errors.New("asked to power off")
	errRestart = errors.New("asked to restart")
)

// hear ends the appliance's context when the hypervisor asks for the VM's end.
func hear(m *pvboot.Machine, cancel context.CancelCauseFunc) {
	for r := range m.Requests {
		switch r {
		case pvboot.PowerOff:
			cancel(errOff)
		case pvboot.Restart:
			cancel(errRestart)
		}
	}
}

// drainTime is what a Drainer gets to finish what it has begun.
const drainTime = 10 * time.Second

// network is the machine's network device. It waits for one that may be attached
// later, and calls waiting before that.
func network(ctx context.Context, m *pvboot.Machine, waiting func()) (device.Net, error) {
	if dev := m.Net(); dev != nil {
		return dev, nil
	}
	if m.WaitNet == nil {
		return nil, format.Errorf("the machine has no network device among %d devices; attach one", len(m.Devices))
	}
	waiting()
	return m.WaitNet(ctx)
}

// run serves on m until ctx is done.
func run(ctx context.Context, m *pvboot.Machine, sys config.System, name string, n New) error {
	start := time.Now()
	out := m.Console
	if feature.Management && sys.Management != nil {
		out = remember(out)
	}
	log := telemetry.New(out, time.Now, sys.Console)
	if sys.Hostname == "" {
		sys.Hostname = name
	} else {
		log = log.With("host", sys.Hostname)
	}
	log.Info("starting", "appliance", name, "build", build, "config", configuration)
	h := newHerald(m, sys.Hostname, log)
	defer h.end()
	given := sys.Net // a copy, or all of sys and its types would live on the heap
	dev, err := network(ctx, m, func() {
		log.Info("waiting for a network interface: attach one")
		h.tell(given.Addresses)
	})
	if err != nil && ctx.Err() != nil {
		log.Info("stopping", "reason", context.Cause(ctx))
		return nil
	}
	if err != nil {
		return err
	}
	stack, err := netif.New(dev, sys.Net, netif.Options{
		Limits: sys.Limits.Fill(m.Memory), Rand: m.Entropy, Hostname: sys.Hostname, Log: log, Changed: h.again,
	})
	if err != nil {
		return err
	}
	defer stack.Close()
	var sink *syslog.Sink
	if feature.Syslog && sys.Syslog != nil {
		defer collect(log, sys, name, stack, &sink)()
	}
	now := stack.Addresses()
	env := &Env{Net: stack, Link: dev.Info(), Addr: now, Log: log, Rand: m.Entropy, Now: time.Now}
	if feature.Management && sys.Management != nil {
		end, err := manage(env, m, &sys, name, stack, out, start)
		if err != nil {
			return err
		}
		defer end()
		count(env.Management, sink)
	}
	a, err := n(env)
	if err != nil {
		return err
	}
	log.Info("serving", "appliance", name, "platform", m.Name, "net", dev.Name(), "addresses", netif.List(now), "boot", sinceBoot(m, start))
	h.tell(stack.Addresses)
	if every := statsInterval(m.Command); every > 0 {
		go logStats(log, m, stack, every)
	}
	return serve(ctx, a, stack, log)
}

// serve ends with the appliance or with the network, whichever ends first. When
// ctx ends it drains the appliance before it stops it.
func serve(asked context.Context, a Appliance, stack *netif.Stack, log *telemetry.Logger) error {
	ctx, stop := context.WithCancelCause(context.WithoutCancel(asked))
	defer context.AfterFunc(asked, func() {
		log.Info("stopping", "reason", context.Cause(asked))
		if d, ok := a.(Drainer); ok {
			limit, cancel := context.WithTimeout(ctx, drainTime)
			if err := d.Drain(limit); err != nil {
				log.Warn("not drained", "error", err)
			}
			cancel()
		}
		stop(context.Cause(asked))
	})()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-stack.Done():
			cancel(errGone)
		case <-ctx.Done():
		}
	}()
	err := a.Serve(ctx)
	if cause := context.Cause(ctx); err == nil && errors.Is(cause, errGone) {
		return cause
	}
	return err
}

var errGone = errors.New("the network device is gone")

// sinceBoot is the time from the machine's start until now, as far as the
// machine knows it.
func sinceBoot(m *pvboot.Machine, start time.Time) time.Duration {
	if m.Clock == nil {
		return time.Since(start)
	}
	return time.Duration(m.Clock.Monotonic())
}
