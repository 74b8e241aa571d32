package shell_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"ampoule/libos/mgmt"
	"ampoule/libos/mgmt/mgmttest"
	"ampoule/libos/mgmt/own"
	"ampoule/libos/mgmt/plane"
	"ampoule/libos/mgmt/shell"
	"ampoule/libos/telemetry"
	"ampoule/libos/telemetry/recent"
)

// clientKey makes a key pair: its file for ssh, and what the server knows of it.
func clientKey(t *testing.T, dir, name string) (file, public string, signer ssh.Signer) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, name)
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(dir, name)
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	if signer, err = ssh.NewSignerFromKey(key); err != nil {
		t.Fatal(err)
	}
	return file, string(signer.PublicKey().Marshal()), signer
}

// TestOpenSSH uses OpenSSH's client: each verb, both roles, a key that is not
// listed, and what is not to be had.
func TestOpenSSH(t *testing.T) {
	dir := t.TempDir()
	operator, operatorKey, signer := clientKey(t, dir, "operator")
	reader, readerKey, _ := clientKey(t, dir, "reader")
	stranger, _, _ := clientKey(t, dir, "stranger")
	var listeners []net.Listener
	var log mgmttest.Buffer
	lines := recent.New(&log, 16<<10)
	cfg := &mgmt.Config{Clients: string(mgmttest.Root(t, "clients").Cert()), Own: own.SelfSigned{}, Slots: 4, Connections: 4, Handshakes: 10,
		Parts: []mgmt.Part{shell.Part{Port: 9022, Keys: []shell.Key{{Name: "alice", Public: operatorKey, Role: mgmt.Operate}, {Name: "bob", Public: readerKey, Role: mgmt.Read}}}}}
	p, err := cfg.Open(&plane.Host{Hostname: "edge-7", Log: telemetry.New(lines, time.Now, telemetry.Info), Recent: lines, Rand: rand.Reader, Now: time.Now,
		Up: func() time.Duration { return time.Minute }, Listen: func(string, string) (net.Listener, error) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			listeners = append(listeners, l)
			return l, err
		}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Serve(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	addr := listeners[1].Addr().String()
	_, port, _ := net.SplitHostPort(addr)
	run := func(key string, stdin []byte, args ...string) (string, error) {
		all := append([]string{"-F", "none", "-i", key, "-p", port, "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=" + filepath.Join(dir, "known"),
			"-o", "LogLevel=ERROR", "-o", "BatchMode=yes", "x@127.0.0.1"}, args...)
		cmd := exec.CommandContext(ctx, "ssh", all...)
		cmd.Stdin = bytes.NewReader(stdin)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	root := mgmttest.Root(t, "root")
	bundle := root.Issue(t, mgmttest.Spec{Name: "ns1", Hosts: []string{"ns1.example.org"}}).Bundle(t, root)
	for _, c := range []struct {
		key   string
		line  string
		stdin []byte
		want  string
		fails bool
	}{
		{reader, "help", nil, "certs commit GENERATION", false},
		{reader, "status", nil, "hostname: edge-7\n", false},
		{reader, "health", nil, "ok\n", false},
		{reader, "metrics", nil, "ampoule_uptime_seconds 60\n", false},
		{reader, "log 5", nil, "management by SSH", false},
		{reader, "log level debug", nil, "no-permission", true},
		{reader, "certs stage dns", bundle, "no-permission", true},
		{operator, "log level warn", nil, "warn\n", false},
		{operator, "log level", nil, "warn\n", false},
		{operator, "certs stage dns", []byte("nonsense"), "pem-none", true},
		{operator, "certs stage dns", bundle, "name: dns\n", false},
		{operator, "certs commit 7", nil, "generation-conflict", true},
		{operator, "certs commit", nil, "no such command", true},
		{operator, "certs commit x", nil, "precondition", true},
		{operator, "certs validate", nil, "kind: certificates\n", false},
		{operator, "certs commit 0", nil, "generation: 1\n", false},
		{operator, "certs list", nil, "ns1.example.org", false},
		{operator, "certs remove dns", nil, "remove: true", false},
		{operator, "certs abort", nil, "", false},
		{operator, "certs rollback 1", nil, "generation: 2\n", false},
		{operator, "reboot", nil, "no such command", true},
		{operator, "certs stage ../x", bundle, "no such command", true},
		{stranger, "status", nil, "Permission denied (publickey)", true},
	} {
		out, err := run(c.key, c.stdin, c.line)
		if (err != nil) != c.fails || !strings.Contains(out, c.want) {
			t.Errorf("%s: %s: %v\n%s\nwant %q", filepath.Base(c.key), c.line, err, out, c.want)
		}
	}
	out, err := run(reader, nil, "status", "--json")
	var status map[string]any
	if jerr := json.Unmarshal([]byte(out), &status); err != nil || jerr != nil || status["generation"] != 2.0 || status["you"] != "ssh:bob" {
		t.Errorf("--json: %v, %v: %s", err, jerr, out)
	}
	if out, err := run(operator, nil); err == nil || !strings.Contains(out, "no such command") {
		t.Errorf("a shell: %v %s", err, out)
	}
	if !strings.Contains(log.String(), "audit management who=ssh:alice what=commit result=done old=0 new=1") {
		t.Errorf("the log lacks the change:\n%s", log.String())
	}
	silent(t, addr, 40)
	begin := time.Now()
	if out, err := run(reader, nil, "health"); err != nil || time.Since(begin) > 8*time.Second {
		t.Errorf("beside silent connections: %v, %v, %s", time.Since(begin), err, out)
	}
	client, err := ssh.Dial("tcp", addr, &ssh.ClientConfig{User: "x", Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: ssh.InsecureIgnoreHostKey()})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Dial("tcp", "127.0.0.1:1"); err == nil {
		t.Error("connections are forwarded")
	}
	if l, err := client.Listen("tcp", "127.0.0.1:0"); err == nil {
		l.Close()
		t.Error("a port is forwarded")
	}
}

// silent makes connections from elsewhere that stand and say nothing.
func silent(t *testing.T, addr string, n int) {
	t.Helper()
	d := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, 1)}}
	for range n {
		c, err := d.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
	}
}
