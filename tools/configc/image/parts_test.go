package image

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"testing"

	"ampoule/tools/configc/report"
)

// Each part can be left out alone, and with all others; what is left has none of
// what it is about, and the image itself is as before.
func TestParts(t *testing.T) {
	var list report.List
	img := Load("../../../configs/dns.toml", "dns", &list)
	if list.Failed() {
		t.Fatal(list.Problems())
	}
	img.Network.Fragments, img.Network.DHCP, img.Network.SLAAC, img.Syslog = true, true, true, &Syslog{Authorities: []byte("x")}
	img.Mgmt = &Management{Disk: true, Pprof: true, Capture: true}
	img.HTTPS = &HTTPS{HTTP2: true}
	img.DNS.Keys = []Key{{Name: "a."}}
	img.DNS.Zones[0].Notify = []Peer{{}}
	img.DNS.Transferred = []Transferred{{}}
	names := func(img *Image) (names []string) {
		for _, p := range img.Parts() {
			names = append(names, p.Name)
		}
		return names
	}
	all := names(img)
	if len(all) != 17 {
		t.Errorf("parts %q", all)
	}
	for _, p := range img.Parts() {
		less, err := img.Without(p.Name)
		if err != nil {
			t.Fatal(err)
		}
		gone := []string{p.Name}
		for _, o := range img.Parts() { // each is behind the one that it is within
			if slices.Contains(gone, o.Within) {
				gone = append(gone, o.Name)
			}
		}
		want := slices.DeleteFunc(slices.Clone(all), func(name string) bool { return slices.Contains(gone, name) })
		if got := names(less); !slices.Equal(got, want) {
			t.Errorf("without %s: %q, want %q", p.Name, got, want)
		}
		if got := names(img); !slices.Equal(got, all) {
			t.Fatalf("without %s: the image itself has %q", p.Name, got)
		}
	}
	less, err := img.Without(all...)
	if err != nil || len(names(less)) > 0 {
		t.Errorf("without anything: %q, %v", names(less), err)
	}
	// What decides about linking is in the package feature, and all of it off; and
	// what the configuration imports.
	var source, config bytes.Buffer
	if err := less.Source(&config); err != nil {
		t.Fatal(err)
	}
	paths, _, _ := strings.Cut(config.String(), "\n)\n")
	for _, path := range regexp.MustCompile(`"(ampoule/.*)"`).FindAllStringSubmatch(paths, -1) {
		if !slices.Contains([]string{"ampoule/libos/config", "ampoule/libos/config/zone", "ampoule/libos/netif", "ampoule/libos/telemetry",
			"ampoule/appliances/dns/answer", "ampoule/appliances/dns/dnsd"}, path[1]) {
			t.Errorf("without anything %s is still imported", path[1])
		}
	}
	if err := less.Feature(&source); err != nil {
		t.Fatal(err)
	}
	if s := source.String(); strings.Contains(s, "= true") || strings.Count(s, "ampoule/") != 1 || !strings.Contains(s, "var Layers = [...]layer.Layer{}") {
		t.Errorf("without anything there is still\n%s", s)
	}
	if _, err := img.Without("syslogs"); err == nil || !strings.Contains(err.Error(), "network.ipv4, network.dhcp, ") {
		t.Errorf("an unknown part: %v", err)
	}
}
