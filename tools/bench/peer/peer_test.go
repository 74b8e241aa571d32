package peer

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// TestPlain: each server has its program, configuration and zone.
func TestPlain(t *testing.T) {
	for _, name := range Names() {
		p, err := plain(name, []byte("zone"))
		if err != nil || p.Files[zoneFile] != "zone" || len(p.Programs) != 1 || !strings.Contains(p.Init, "exec "+p.Programs[0]) ||
			!strings.Contains(p.Files["etc/server.conf"], origin) || p.Packages[0] != name {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
	if _, err := plain("nobody", nil); err == nil {
		t.Error("a server that there is not")
	}
}

func TestExpand(t *testing.T) {
	file := filepath.Join(t.TempDir(), "zone")
	if err := os.WriteFile(file, []byte("$TTL 60\n@ SOA ns host 1 2 3 4 5\n$GENERATE 1-3 h$ A 192.0.2.$\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	b, err := expand(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	if len(lines) != 4 {
		t.Fatalf("%s", b)
	}
	rr, err := dns.NewRR(lines[3])
	if err != nil || rr.Header().Name != "h3.example.org." || rr.(*dns.A).A.String() != "192.0.2.3" {
		t.Errorf("%v, %v", rr, err)
	}
	if err := os.WriteFile(file, []byte("@ SOA nonsense\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := expand(file); err == nil {
		t.Error("a broken zone is no error")
	}
}

func TestTSC(t *testing.T) {
	if khz, err := tsc(); err != nil || khz < 100_000 || khz > 20_000_000 {
		t.Errorf("%d kHz, %v", khz, err)
	}
}

// TestWeb: nginx has its configuration and the files.
func TestWeb(t *testing.T) {
	p := web(Site{map[string][]byte{"/a": []byte("content")}, []byte("certificate"), []byte("key")})
	if p.Files["srv/www/a"] != "content" || p.Files["etc/site.pem"] != "certificate" || p.Files["etc/site.key"] != "key" || !strings.Contains(p.Files["etc/server.conf"], "root /srv/www;") ||
		!strings.Contains(p.Init, "exec /usr/sbin/nginx") || p.Packages[0] != "nginx" {
		t.Errorf("%+v", p)
	}
}
