package appliance

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"ampoule/libos/config"
	"ampoule/libos/device"
	"ampoule/libos/netif"
	"ampoule/libos/netif/netiftest"
	"ampoule/libos/pvboot"
)

type fake struct{ err error }

func (f fake) Serve(ctx context.Context) error {
	if f.err == nil {
		<-ctx.Done()
	}
	return f.err
}

func machine(out *bytes.Buffer, devs ...device.Device) *pvboot.Machine {
	return &pvboot.Machine{Name: "test", Memory: 64 << 20, Entropy: rand.Reader, Console: out, Devices: devs}
}

var sys = config.System{Hostname: "h", Net: netif.Config{IPv4: netip.MustParsePrefix("10.0.2.15/24")}}

func TestRun(t *testing.T) {
	broken := errors.New("broken")
	for _, c := range []struct {
		name  string
		build error // what New fails with
		serve error // what Serve fails with
		want  string
		log   string
	}{
		{"serve fails", nil, broken, "broken", "serving host=h appliance=x platform=test"},
		{"new fails", broken, nil, "broken", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			dev, _ := netiftest.Pair(netiftest.Options{}, netiftest.Options{})
			var out bytes.Buffer
			err := run(context.Background(), machine(&out, dev), sys, "x", func(*Env) (Appliance, error) {
				return fake{c.serve}, c.build
			})
			if err == nil || err.Error() != c.want {
				t.Errorf("error %v, want %q", err, c.want)
			}
			first, rest, _ := strings.Cut(out.String(), "\n")
			if !strings.Contains(first, "starting host=h appliance=x build=unknown config=unknown") {
				t.Errorf("the first line of the log is %q", first)
			}
			if !strings.Contains(rest, c.log) || c.log == "" && rest != "" {
				t.Errorf("log %q, want %q in it", rest, c.log)
			}
			dev.Check(t)
		})
	}
}

func TestRunStops(t *testing.T) {
	dev, _ := netiftest.Pair(netiftest.Options{}, netiftest.Options{})
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	var out bytes.Buffer
	if err := run(ctx, machine(&out, dev), sys, "x", serves); err != nil {
		t.Error(err)
	}
}

func serves(*Env) (Appliance, error) { return waits{}, nil }

type waits struct{}

func (waits) Serve(ctx context.Context) error { <-ctx.Done(); return nil }

func TestRunNoDevice(t *testing.T) {
	var out bytes.Buffer
	err := run(context.Background(), machine(&out), sys, "x", serves)
	if err == nil || !strings.Contains(err.Error(), "no network device") {
		t.Errorf("error %v", err)
	}
}

func TestRunDeviceGone(t *testing.T) {
	dev, _ := netiftest.Pair(netiftest.Options{}, netiftest.Options{})
	time.AfterFunc(20*time.Millisecond, func() { dev.Close() })
	var out bytes.Buffer
	if err := run(context.Background(), machine(&out, dev), sys, "x", serves); !errors.Is(err, errGone) {
		t.Errorf("error %v, want %v", err, errGone)
	}
}

// TestRunLateDevice: without a device, where one may be attached, the appliance
// says that it waits, announces itself, and serves when there is one.
func TestRunLateDevice(t *testing.T) {
	dev, _ := netiftest.Pair(netiftest.Options{}, netiftest.Options{})
	attached := make(chan struct{})
	announced := make(chan struct{}, 2)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var out bytes.Buffer
	m := machine(&out)
	m.WaitNet = func(ctx context.Context) (device.Net, error) {
		select {
		case <-attached:
			return dev, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	m.Announce = func(string, []netip.Prefix) error {
		announced <- struct{}{}
		return nil
	}
	served := make(chan struct{})
	ended := make(chan error)
	go func() {
		ended <- run(ctx, m, sys, "x", func(*Env) (Appliance, error) { close(served); return waits{}, nil })
	}()
	<-announced
	select {
	case <-served:
		t.Error("it serves without a device")
	default:
	}
	close(attached)
	<-served
	<-announced
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if log := out.String(); !strings.Contains(log, "waiting for a network interface") || !strings.Contains(log, "serving") {
		t.Errorf("log %q", log)
	}
}

// TestRunStopsWaiting: an appliance that waits for a device ends when asked.
func TestRunStopsWaiting(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	var out bytes.Buffer
	m := machine(&out)
	m.WaitNet = func(ctx context.Context) (device.Net, error) {
		cancel(errOff)
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if err := run(ctx, m, sys, "x", serves); err != nil {
		t.Errorf("error %v", err)
	}
	if log := out.String(); !strings.Contains(log, errOff.Error()) {
		t.Errorf("log %q", log)
	}
}
