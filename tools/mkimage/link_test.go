package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"debug/elf"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"ampoule/tools/workspace"
)

// linked are configurations of images that TestLinked builds.
var linked = map[string]string{
	"IPv4 alone": "[network]\nipv4 = \"10.0.2.15/24\"\n\n[syslog]\nserver = \"10.0.2.2:514\"\n",
	"IPv6 alone": "[network]\nipv6 = [\"fec0::15/64\"]\n",
	"all": "[network]\ndhcp = true\nslaac = true\n\n[syslog]\nserver = \"10.0.2.2:6514\"\nauthorities = \"ca.pem\"\n" +
		"\n[management]\nclient_ca = \"ca.pem\"\npprof = true\ncapture = true\ndisk = true\nssh_port = 22\n" +
		"\n[[management.ssh_keys]]\nname = \"a\"\nrole = \"read\"\nkey = \"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f alice@example\"\n",
}

// modules are what an image may be without: the symbols of each, and images
// with and without it.
var modules = []struct {
	name          string
	symbols       *regexp.Regexp
	without, with []string
}{
	{"IPv4", regexp.MustCompile(`\btcpip/network/(ipv4|arp)\.|\blibos/netif/ip4\.`),
		[]string{"IPv6 alone"}, []string{"IPv4 alone", "all"}},
	{"IPv6", regexp.MustCompile(`\btcpip/network/ipv6\.|\blibos/netif/ip6\.`),
		[]string{"IPv4 alone"}, []string{"IPv6 alone", "all"}},
	{"DHCP", regexp.MustCompile(`\blibos/netif/dhcp4\.|\blibos/netif\.(\(\*Stack\)\.dhcp|.*dhcpPort|toServers)`),
		[]string{"IPv4 alone", "IPv6 alone"}, []string{"all"}},
	{"SLAAC", regexp.MustCompile(`\blibos/netif/ip6\..*[aA]dvertised|\blibos/netif/layer\.|\blibos/netif\..*(follow|advertised)`),
		[]string{"IPv4 alone", "IPv6 alone"}, []string{"all"}},
	{"syslog", regexp.MustCompile(`\blibos/telemetry/syslog\.|\blibos/appliance\.collect`),
		[]string{"IPv6 alone"}, []string{"IPv4 alone", "all"}},
	{"syslog over TLS", regexp.MustCompile(`\blibos/telemetry/syslog/secure|^crypto/tls`),
		[]string{"IPv4 alone", "IPv6 alone"}, []string{"all"}},
	{"management", regexp.MustCompile(`\blibos/mgmt|\blibos/http1|\blibos/telemetry/(metrics|recent)|\blibos/appliance\.(manage|collect(Runtime|Network|Machine)|.*lag)|^crypto/(tls|x509)|^encoding/pem`),
		[]string{"IPv4 alone", "IPv6 alone"}, []string{"all"}},
	{"capture", regexp.MustCompile(`\blibos/mgmt/capture|\blibos/netif\..*(SetTap|\)\.watch)`),
		[]string{"IPv4 alone", "IPv6 alone"}, []string{"all"}},
	{"SSH", regexp.MustCompile(`\blibos/mgmt/shell|^golang.org/x/crypto/ssh|^vendor/golang.org/x/crypto/ssh`),
		[]string{"IPv4 alone", "IPv6 alone"}, []string{"all"}},
	{"the disk", regexp.MustCompile(`\blibos/(mgmt/persist|store)|\bdrivers/virtio/blk`),
		[]string{"IPv4 alone", "IPv6 alone"}, []string{"all"}},
	{"profiles", regexp.MustCompile(`\blibos/mgmt/profile|^runtime/pprof`),
		[]string{"IPv4 alone", "IPv6 alone"}, []string{"all"}},
}

// TestLinked builds images and holds them to having no symbol of what their
// configuration leaves out, and some of what it asks for.
func TestLinked(t *testing.T) {
	root, err := workspace.Root()
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(root)
	symbols := map[string][]string{}
	for name, config := range linked {
		symbols[name] = buildSymbols(t, config)
	}
	for _, m := range modules {
		for _, name := range m.without {
			if found := matching(symbols[name], m.symbols); len(found) > 0 {
				t.Errorf("%s: %d symbols of %s are in an image without it, such as %s", name, len(found), m.name, found[0])
			}
		}
		for _, name := range m.with {
			found := matching(symbols[name], m.symbols)
			if len(found) == 0 {
				t.Errorf("%s: no symbol of %s is in an image with it", name, m.name)
			}
			t.Logf("%s: %d symbols of %s", name, len(found), m.name)
		}
	}
}

func matching(symbols []string, re *regexp.Regexp) []string {
	var found []string
	for _, s := range symbols {
		if re.MatchString(s) {
			found = append(found, s)
		}
	}
	return found
}

// buildSymbols builds an image of the echo appliance with a configuration, and
// returns the names in its symbol table.
func buildSymbols(t *testing.T, config string) []string {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "image.toml")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "ca.pem"), authority(t), 0o644); err != nil {
		t.Fatal(err)
	}
	o := options{app: "echo", target: "virtio", goamd64: "v1", config: file,
		out: filepath.Join(dir, "echo.elf"), work: filepath.Join(dir, "work")}
	if err := o.run(); err != nil {
		t.Fatal(err)
	}
	f, err := elf.Open(o.out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	table, err := f.Symbols()
	if err != nil || len(table) < 1000 {
		t.Fatal(fmt.Errorf("%d symbols: %w", len(table), err))
	}
	names := make([]string, len(table))
	for i, s := range table {
		names[i] = s.Name
	}
	return names
}

// authority makes the certificate of an authority, as PEM.
func authority(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	x := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, x, x, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
