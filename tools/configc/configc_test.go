package main

import (
	"bytes"
	"flag"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"ampoule/tools/configc/image"
	"ampoule/tools/configc/report"

	"golang.org/x/tools/txtar"
)

var update = flag.Bool("update", false, "write what configc says into testdata")

// TestMessages runs configc on every testdata/*.txtar: the comment's first line
// names the appliance, "want" holds what is printed, and the other files are
// the operator's. A case without an error among its messages must compile.
func TestMessages(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) { testCase(t, file) })
	}
}

func testCase(t *testing.T, file string) {
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	app, _, _ := strings.Cut(string(archive.Comment), "\n")
	dir := t.TempDir()
	want := -1
	for i, f := range archive.Files {
		if f.Name == "want" {
			want = i
			continue
		}
		path := filepath.Join(dir, f.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, f.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var stdout, stderr bytes.Buffer
	code := func() int {
		back, err := os.Getwd()
		if err != nil {
			t.Fatal(err)
		}
		defer os.Chdir(back)
		if err := os.Chdir(dir); err != nil {
			t.Fatal(err)
		}
		return run([]string{"-config", "image.toml", "-app", app}, &stdout, &stderr)
	}()
	if *update {
		if want < 0 {
			archive.Files = append(archive.Files, txtar.File{Name: "want"})
			want = len(archive.Files) - 1
		}
		archive.Files[want].Data = stderr.Bytes()
		if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want < 0 {
		t.Fatal("no file named want")
	}
	if got := stderr.String(); got != string(archive.Files[want].Data) {
		t.Errorf("got\n%swant\n%s", got, archive.Files[want].Data)
	}
	failed := false
	for _, line := range strings.Split(strings.TrimSpace(stderr.String()), "\n") {
		failed = failed || line != "" && !strings.Contains(line, ": warning: ")
	}
	if (code != 0) != failed || failed && stdout.Len() > 0 {
		t.Errorf("exit code %d and %d bytes of source with these messages", code, stdout.Len())
	}
}

// TestLongLists: revocation lists have a bound in an image, too.
func TestLongLists(t *testing.T) {
	config := unpack(t, "testdata/tls-crl-good.txtar")
	lists := filepath.Join(filepath.Dir(config), "clients.crl")
	data, err := os.ReadFile(lists)
	if err != nil {
		t.Fatal(err)
	}
	for more, want := range map[int]string{64<<10 - len(data): "", 64<<10 - len(data) + 1: "are 65537 bytes; at most 65536 are taken\n"} {
		if err := os.WriteFile(lists, append(bytes.Repeat([]byte("\n"), more), data...), 0o644); err != nil {
			t.Fatal(err)
		}
		var stdout, stderr bytes.Buffer
		if code := run([]string{"-config", config, "-app", "tls"}, &stdout, &stderr); (code == 0) != (want == "") || !strings.HasSuffix(stderr.String(), want) {
			t.Errorf("%d bytes more: exit code %d, %s", more, code, stderr.String())
		}
	}
}

// TestSource compares the constants in the source with the tables they are
// made of, and checks that the source is formatted Go.
func TestSource(t *testing.T) {
	for _, app := range image.Apps {
		var list report.List
		img := image.Load("../../configs/"+app+".toml", app, &list)
		for _, p := range list.Problems() {
			t.Error(p)
		}
		if t.Failed() {
			return
		}
		var b bytes.Buffer
		if err := img.Source(&b); err != nil {
			t.Fatal(err)
		}
		if formatted, err := format.Source(b.Bytes()); err != nil || !bytes.Equal(formatted, b.Bytes()) {
			t.Errorf("%s: not formatted: %v", app, err)
		}
		f, err := parser.ParseFile(token.NewFileSet(), "config.go", b.Bytes(), 0)
		if err != nil {
			t.Fatal(err)
		}
		constants := constantStrings(t, f)
		for i, z := range img.DNS.Zones {
			if got := constants["zone"+strconv.Itoa(i)]; got != string(z.Table) || got == "" {
				t.Errorf("%s: the constant has %d bytes, the table %d, or they differ", z.Origin, len(got), len(z.Table))
			}
		}
		if app == "dns" && len(img.DNS.Zones) != 2 {
			t.Errorf("%d zones", len(img.DNS.Zones))
		}
	}
}

// constantStrings returns the string constants of a file by name.
func constantStrings(t *testing.T, f *ast.File) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST {
			continue
		}
		for _, s := range g.Specs {
			v := s.(*ast.ValueSpec)
			var b strings.Builder
			ast.Inspect(v.Values[0], func(n ast.Node) bool {
				if l, ok := n.(*ast.BasicLit); ok {
					text, err := strconv.Unquote(l.Value)
					if err != nil {
						t.Fatal(err)
					}
					b.WriteString(text)
				}
				return true
			})
			all[v.Names[0].Name] = b.String()
		}
	}
	return all
}

// TestReference holds the README to the schema.
func TestReference(t *testing.T) {
	const file, begin, end = "README.md", "<!-- keys -->\n", "<!-- end of keys -->"
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(b), begin)
	old, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s lacks %q or %q", file, begin, end)
	}
	var stdout, stderr bytes.Buffer
	if code := run([]string{"-reference"}, &stdout, &stderr); code != 0 {
		t.Fatalf("exit code %d: %s", code, &stderr)
	}
	now := "\n" + stdout.String()
	if *update {
		if err := os.WriteFile(file, []byte(head+begin+now+end+tail), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if old != now {
		t.Errorf("the keys in %s are not those of the schema: go test ampoule/tools/configc -run Reference -update", file)
	}
	for _, key := range []string{"network.ipv4", "limits.tcp_backlog", "syslog.server", "dns.zones.origin", "echo.port", "hostname"} {
		if !strings.Contains(now, "| `"+key+"` |") {
			t.Errorf("no %s in the reference", key)
		}
	}
}

// TestUsage checks that a wrong command line is answered with one clear line.
func TestUsage(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "usage: configc -config FILE -app APPLIANCE [-o FILE] [-feature FILE]"},
		{[]string{"-config", "x.toml"}, "configc: -app : no such appliance; there are: dns, echo, http, tls"},
		{[]string{"-config", "x.toml", "-app", "dsn"}, "configc: -app dsn: no such appliance; there are: dns, echo, http, tls"},
		{[]string{"-config", "x.toml", "-app", "dns", "y"}, "usage: configc -config FILE -app APPLIANCE [-o FILE] [-feature FILE]"},
	} {
		var stdout, stderr bytes.Buffer
		if code := run(c.args, &stdout, &stderr); code != 2 || strings.TrimSpace(stderr.String()) != c.want {
			t.Errorf("%q: exit code %d, %q; want 2, %q", c.args, code, stderr.String(), c.want)
		}
	}
}
