// Package web is what clients of the HTTP appliance with HTTPS need and check, wherever
// it was booted: tools/guesttest asks images in QEMU, tools/xentest on Xen.
package web

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"ampoule/libos/mgmt/mgmttest"
	"ampoule/tools/httpdiff"
)

// configuration is an image with HTTPS. %[1]s is the address, %[2]s the folder of the
// authority, %[3]s the sites. h2spec makes some 100 handshakes in a second, as many as one
// source may by default.
const configuration = `hostname = "www1"
[network]
ipv4 = "%[1]s/24"
gateway4 = "10.0.2.2"
[management]
client_ca = "%[2]s/ca.pem"
handshakes = 100
[https]
hsts = "8760h"
handshakes = 1000
[http]
%[3]s
`

// Clients are those of one booted image, on this machine. They belong to a test and to
// one goroutine.
type Clients struct {
	T    *testing.T
	Dir  string         // for files, gone with the test
	Root *mgmttest.Pair // authority of the sites' certificates
	// Addr is where what Start starts, and this process, reach a port of the image.
	Addr  func(port int) string
	Start func(cmd *exec.Cmd) error

	generation int
	leaf       *x509.Certificate
}

// New writes the files that clients need: root.pem, which they trust, operate.pem, who
// may change certificates, and ca.pem, which is the image's.
func New(t *testing.T) *Clients {
	t.Helper()
	c := &Clients{T: t, Dir: t.TempDir(), Root: mgmttest.Root(t, "sites"), Start: (*exec.Cmd).Start}
	clients := mgmttest.Root(t, "clients")
	c.Write("ca.pem", clients.Cert())
	c.Write("root.pem", c.Root.Cert())
	c.Write("operate.pem", clients.Issue(t, mgmttest.Spec{Name: "operate", Unit: "ampoule-operate", Client: true}).Bundle(t, clients))
	return c
}

// With is a copy for another test; what one of them changes the other does not know.
func (c *Clients) With(t *testing.T) *Clients {
	other := *c
	other.T = t
	return &other
}

// Config is the text of a configuration with HTTPS, a management plane at port 9443, and
// the sites that are given.
func (c *Clients) Config(ipv4, sites string) string {
	return fmt.Sprintf(configuration, ipv4, c.Dir, sites)
}

// Sites is the configuration of two: that of httpdiff, which is made below Dir, for
// example.org and others, and the page of Page for PageHost.
func (c *Clients) Sites() string {
	c.T.Helper()
	folder := filepath.Join(c.Dir, "first")
	if _, err := httpdiff.MakeSite(folder); err != nil {
		c.T.Fatal(err)
	}
	first := strings.Replace(httpdiff.Config, "folder = %q\n", "folder = %q\nnames = [\"example.org\", \"www.example.org\", \"other.example.org\"]\n", 1)
	return fmt.Sprintf(first+"[[http.sites]]\nfolder = %q\nnames = [%q]\n", folder, c.Page(), PageHost)
}

// Write writes a file below Dir and returns its path.
func (c *Clients) Write(name string, data []byte) string {
	c.T.Helper()
	path := filepath.Join(c.Dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		c.T.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		c.T.Fatal(err)
	}
	return path
}

// Commit has the management plane use a new certificate, and returns its serial number.
func (c *Clients) Commit(hosts ...string) string {
	c.T.Helper()
	c.leaf = c.CommitSlot("web", hosts...)
	return c.leaf.SerialNumber.String()
}

// CommitSlot does so for a slot besides that of Commit.
func (c *Clients) CommitSlot(slot string, hosts ...string) *x509.Certificate {
	c.T.Helper()
	pair := c.Root.Issue(c.T, mgmttest.Spec{Name: hosts[0], Hosts: hosts})
	bundle := c.Write("bundle.pem", pair.Bundle(c.T, c.Root))
	base := "https://" + c.Addr(9443)
	for _, args := range [][]string{
		{"-T", bundle, base + "/v1/staged/certificates/" + slot},
		{"-X", "POST", "-H", fmt.Sprintf("If-Match: %q", strconv.Itoa(c.generation)), base + "/v1/staged/commit"},
	} {
		if out, err := c.Command("curl", append([]string{"-sSk", "--fail", "--max-time", "60", "--cert", filepath.Join(c.Dir, "operate.pem")}, args...)...); err != nil {
			c.T.Fatalf("commit: %v\n%s", err, out)
		}
	}
	c.generation++
	return pair.X
}

// Command runs a client and returns all that it prints.
func (c *Clients) Command(name string, args ...string) (string, error) {
	c.T.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		c.T.Fatalf("%s is not installed: run make setup", name)
	}
	ctx, cancel := context.WithTimeout(c.T.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, &out, 5*time.Second
	if err := c.Start(cmd); err != nil {
		return "", err
	}
	err = cmd.Wait()
	return out.String(), err
}

// Curl asks the image for URLs of its names.
func (c *Clients) Curl(args ...string) (string, error) {
	c.T.Helper()
	all := []string{"-sS", "--max-time", "60", "--cacert", filepath.Join(c.Dir, "root.pem"), "--connect-to", "::" + c.Addr(443)}
	return c.Command("curl", append(all, args...)...)
}

// TLS is how Go's clients are to speak TLS.
func (c *Clients) TLS(protocols ...string) *tls.Config {
	return &tls.Config{RootCAs: mgmttest.Pool(c.Root), ServerName: "example.org", NextProtos: protocols}
}

// Dial connects and makes the handshake.
func (c *Clients) Dial(protocol string) func() (net.Conn, error) {
	return func() (net.Conn, error) { return tls.Dial("tcp", c.Addr(443), c.TLS(protocol)) }
}
