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
			if !strings.Contains(out.String(), c.log) || c.log == "" && out.Len() > 0 {
				t.Errorf("log %q, want %q in it", &out, c.log)
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
