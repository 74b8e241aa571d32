package guesttest

import (
	"strings"
	"testing"

	"ampoule/tools/boottest/vm"
	"ampoule/tools/guesttest/guest"
	"ampoule/tools/load"
	"ampoule/tools/netpeer"
)

// exitEntropy is rtabi.ExitEntropy, written out since it is documented to
// operators.
const exitEntropy = 47

// TestEntropy holds an image to starting with any one source of randomness,
// and not at all with none.
func TestEntropy(t *testing.T) {
	image := images.App(t, "echo", "v1")
	for _, m := range vm.Machines {
		for name, c := range map[string]vm.Config{
			"RDRAND":     {CPU: "Nehalem,rdrand=on"},
			"virtio-rng": {CPU: "Nehalem", RNG: true},
		} {
			t.Run(string(m)+"/"+name, func(t *testing.T) {
				s := guest.Segment(t, netpeer.Options{})
				c.Image, c.Machine, c.RAM, c.Net = image, m, 32, s.Net()
				g := guest.Boot(t, c)
				guest.Up(t, g, s.DialContext, echoAddr(netpeer.GuestIPv4), load.Echo(64))
			})
		}
		t.Run(string(m)+"/none", func(t *testing.T) {
			r, err := vm.Run(t.Context(), vm.Config{Image: image, Machine: m, RAM: 32, CPU: "Nehalem"})
			if err != nil {
				t.Fatal(err)
			}
			if text := strings.Join(r.Lines, "\n"); r.Code != exitEntropy || !strings.Contains(text, "randomness") {
				t.Errorf("exit code %d, want %d:\n%s", r.Code, exitEntropy, text)
			}
		})
	}
}
