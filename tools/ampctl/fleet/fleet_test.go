package fleet_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ampoule/tools/ampctl/fleet"
)

func write(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "fleet.toml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestRead(t *testing.T) {
	name := write(t, `default = "a"
ca = "ca.pem"
cert = "alice.pem"
key = "/keys/alice.key"
timeout = "3s"
[appliances.a]
address = "192.0.2.53"
[appliances.b]
address = "ns2.example.org:99"
server_name = "ns2"
cert = "bob.pem"
timeout = "1m"
sha256 = ["`+strings.Repeat("AB:", 31)+`ab"]
[appliances."c.d"]
address = "[2001:db8::1]:7"
[appliances.e]
address = "2001:db8::1"
`)
	f, err := fleet.Read(name)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(name)
	for i, want := range []fleet.Appliance{
		{Name: "a", Address: "192.0.2.53:9443", ServerName: "192.0.2.53", CA: dir + "/ca.pem", Cert: dir + "/alice.pem", Key: "/keys/alice.key", Timeout: 3 * time.Second},
		{Name: "b", Address: "ns2.example.org:99", ServerName: "ns2", CA: dir + "/ca.pem", Cert: dir + "/bob.pem", Timeout: time.Minute},
		{Name: "c.d", Address: "[2001:db8::1]:7", ServerName: "2001:db8::1", CA: dir + "/ca.pem", Cert: dir + "/alice.pem", Key: "/keys/alice.key", Timeout: 3 * time.Second},
		{Name: "e", Address: "[2001:db8::1]:9443", ServerName: "2001:db8::1", CA: dir + "/ca.pem", Cert: dir + "/alice.pem", Key: "/keys/alice.key", Timeout: 3 * time.Second},
	} {
		got := f.All[i]
		if (len(got.Pins) == 1 && got.Pins[0][31] == 0xab) != (want.Name == "b") {
			t.Errorf("%s: pins %x", want.Name, got.Pins)
		}
		got.Pins = nil
		if got.Name != want.Name || got.Address != want.Address || got.ServerName != want.ServerName || got.CA != want.CA ||
			got.Cert != want.Cert || got.Key != want.Key || got.Timeout != want.Timeout {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	for _, c := range []struct {
		patterns []string
		want     string
	}{{nil, "a"}, {[]string{"*"}, "a b c.d e"}, {[]string{"b", "a", "b"}, "a b"}, {[]string{"[ab]", "c*"}, "a b c.d"}} {
		all, err := f.Pick(c.patterns)
		var names []string
		for _, a := range all {
			names = append(names, a.Name)
		}
		if err != nil || strings.Join(names, " ") != c.want {
			t.Errorf("%v: %v %v, want %s", c.patterns, err, names, c.want)
		}
	}
}

func TestMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"ca = \"x\"\nkay = \"y\"\n":                                               ":2: kay: there is no such key",
		"ca = \"x\"\nca = \"y\"\n":                                                "already",
		"\n\nca = x\n":                                                            ":3: ",
		"[appliances.a]\naddress = 7\n":                                           ":2: ",
		"[appliances.a]\n":                                                        "appliances.a: address = \"\", must be",
		"[appliances.a]\naddress = \"https://x/\"\n":                              "must be a host name",
		"[appliances.a]\naddress = \"x\"\ntimeout = \"soon\"\n":                   "timeout = \"soon\"",
		"[appliances.a]\naddress = \"x\"\ntimeout = \"-1s\"\n":                    "timeout",
		"[appliances.a]\naddress = \"x\"\nsha256 = [\"beef\"]\n":                  "64 hexadecimal digits",
		"[appliances.\"a b\"]\naddress = \"x\"\n":                                 "a name has letters",
		"[appliances.a]\naddress = \"x\"\n[appliances.b]\naddress = \"x:9443\"\n": "same address",
		"default = \"b\"\n[appliances.a]\naddress = \"x\"\n":                      "no [appliances.b]",
		"[appliances.a]\naddress = \"x\"\npassword = \"secret\"\n":                ":3: appliances.a.password: there is no such key",
	} {
		name := write(t, text)
		_, err := fleet.Read(name)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), name) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}
