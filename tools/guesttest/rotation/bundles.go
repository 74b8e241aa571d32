package rotation

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"ampoule/libos/mgmt/mgmttest"
)

// Bundles has an operator stage and commit each bundle of the corpus of bad ones for the
// slot default of a booted terminator, which has a certificate in force: each is refused
// with its code, while the same certificate of the same generation goes on to serve.
func Bundles(t *testing.T, dial func(ctx context.Context, network, addr string) (net.Conn, error), service, plane string, operator *mgmttest.Pair) {
	t.Helper()
	p := NewPlane(t, dial, plane, operator)
	certificates := func() string {
		status, text, err := p.Do("GET", "/v1/certificates", "", "")
		if err != nil || status != 200 {
			t.Fatalf("certificates: %v, %d %s", err, status, text)
		}
		return text
	}
	serving := func() []byte {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		c, err := dial(ctx, "tcp", service)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		tc := tls.Client(c, &tls.Config{InsecureSkipVerify: true, ServerName: Host})
		if err := tc.HandshakeContext(ctx); err != nil {
			t.Fatal(err)
		}
		return tc.ConnectionState().PeerCertificates[0].Raw
	}
	before, served := certificates(), serving()
	var inForce struct{ Generation uint64 }
	if err := json.Unmarshal([]byte(before), &inForce); err != nil || inForce.Generation == 0 {
		t.Fatalf("no generation: %v\n%s", err, before)
	}
	match := fmt.Sprintf(`"%d"`, inForce.Generation)
	corpus := mgmttest.NewPKI(t).Bad(t)
	if len(corpus) < 40 {
		t.Errorf("%d bundles", len(corpus))
	}
	codes := map[string]bool{}
	for _, b := range corpus {
		status, text, err := p.Do("PUT", "/v1/staged/certificates/default", "", string(b.Data))
		if err != nil || status/100 != 4 || !strings.Contains(text, fmt.Sprintf("%q", b.Code)) {
			t.Errorf("%s: %v, %d %s; want %s", b.What, err, status, text, b.Code)
		}
		if !bytes.Equal(serving(), served) {
			t.Fatalf("%s: another certificate serves", b.What)
		}
		if status, text, err = p.Do("POST", "/v1/staged/commit", match, ""); err != nil || status != 409 || !strings.Contains(text, "nothing-staged") {
			t.Errorf("%s: what was refused is committed: %v, %d %s", b.What, err, status, text)
		}
		codes[b.Code] = true
	}
	if after := certificates(); after != before {
		t.Errorf("the certificates were\n%s\nand are\n%s", before, after)
	}
	t.Logf("%d bundles refused with %d codes", len(corpus), len(codes))
}
