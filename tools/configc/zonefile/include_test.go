package zonefile

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"ampoule/tools/configc/report"
)

const apex = "@ 300 SOA ns hostmaster 1 2h 1h 2w 5m\n@ 300 NS ns\nns 300 A 192.0.2.1\n"

// Included files are found from the file that names them, and from the root
// where the path begins there, whatever the zone's own path is like.
func TestIncludePaths(t *testing.T) {
	for _, tc := range []struct {
		name, file string
		files      map[string]string
		want       string // problems
	}{
		{"relative", "zones/a.zone", map[string]string{
			"zones/a.zone": apex + "$INCLUDE parts/b.inc\n", "zones/parts/b.inc": "$INCLUDE ../c.inc\n", "zones/c.inc": "b 300 A 192.0.2.2\n"}, ""},
		{"from the root", "zones/a.zone", map[string]string{
			"zones/a.zone": apex + "$INCLUDE /etc/b.inc sub\nc 300 A 192.0.2.2\n", "/etc/b.inc": "$INCLUDE parts/c.inc\n", "/etc/parts/c.inc": "b 300 A 192.0.2.2\n"}, ""},
		{"all from the root", "/zones/a.zone", map[string]string{
			"/zones/a.zone": apex + "$INCLUDE b.inc ; why\n", "/zones/b.inc": "$INCLUDE /etc/c.inc", "/etc/c.inc": "b 300 A 192.0.2.2\n"}, ""},
		{"not there", "zones/a.zone", map[string]string{
			"zones/a.zone": apex + "$INCLUDE /etc/b.inc\n", "etc/b.inc": "b 300 A 192.0.2.2\n"}, "zones/a.zone:4: failed to open `/etc/b.inc'"},
		{"wrong in one", "zones/a.zone", map[string]string{
			"zones/a.zone": apex + "$INCLUDE /etc/b.inc\n", "/etc/b.inc": "\nb 300 A 192.0.2.256\n"}, "/etc/b.inc:2: bad address in A record"},
		{"a key in one", "zones/a.zone", map[string]string{
			"zones/a.zone": apex + "$INCLUDE /etc/b.inc\n", "/etc/b.inc": "\n; -----BEGIN PRIVATE KEY-----\n"}, "/etc/b.inc:2: found a private key"},
	} {
		var list report.List
		z := read(func(name string) ([]byte, error) {
			text, ok := tc.files[name]
			if !ok {
				return nil, &os.PathError{Op: "open", Path: name, Err: os.ErrNotExist}
			}
			return []byte(text), nil
		}, tc.file, "example.org.", nil, &list)
		var got []string
		for _, p := range list.Problems() {
			got = append(got, fmt.Sprint(p))
		}
		if text := strings.Join(got, "\n"); tc.want == "" && text != "" || !strings.HasPrefix(text, tc.want) || len(got) > 1 {
			t.Errorf("%s: %q, want %q", tc.name, text, tc.want)
		}
		if list.Failed() == (tc.want == "") || tc.want == "" && z.Len() < 3 {
			t.Errorf("%s: %d names", tc.name, z.Len())
		}
	}
}
